"""How isolated model-written programs are, from L1 to L4."""

from collections.abc import Collection
from enum import IntEnum


class Level(IntEnum):
    """What stands between a program and this machine; each level has what is below it too."""

    L1 = 1
    L2 = 2
    L3 = 3
    L4 = 4

    @property
    def summary(self) -> str:
        """What the level adds, in a few words."""
        return {
            Level.L1: "resource limits only: "
                      "a program can do to files and processes what calls without a descriptor can",
            Level.L2: "a system call filter that opens nothing",
            Level.L3: "Landlock and a system call filter",
            Level.L4: "namespaces, Landlock and a system call filter",
        }[self]


def level_of(layers: Collection[str]) -> Level:
    """The level that the layers which were seen to work amount to. A layer without those below it adds no level."""
    level = Level.L1
    for layer, next_level in (("seccomp", Level.L2), ("landlock", Level.L3), ("namespaces", Level.L4)):
        if layer not in layers:
            break
        level = next_level
    return level
