"""Landlock without a single exception: no file, no TCP port, no signal or abstract socket outside of the process."""

import ctypes
import struct

from rewards.sandbox.syscalls import Kernel

_VERSION = 1  # flag of landlock_create_ruleset: tell the ABI instead
# Rights that a ruleset of each ABI can handle (linux/landlock.h): files, TCP ports, scopes.
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_FILES = (1 << 16) - 1
_TCP = 0b11
_SCOPES = 0b11


def version(kernel: Kernel) -> int:
    """The ABI that the kernel speaks, from 1. Raises OSError where it has none or it is switched off."""
    return kernel("landlock_create_ruleset", 0, 0, _VERSION)


def attributes(abi: int) -> bytes:
    """struct landlock_ruleset_attr: everything that this ABI can forbid."""
    # Of this ABI's length exactly: an older kernel refuses a structure that sets what it does not know.
    files = _FILES.get(abi, _ALL_FILES)
    if abi < 4:
        return struct.pack("=Q", files)
    if abi < 6:
        return struct.pack("=QQ", files, _TCP)
    return struct.pack("=QQQ", files, _TCP, _SCOPES)


class Ruleset:
    """A ruleset with no rule, made once; every child binds itself to it."""

    def __init__(self, kernel: Kernel) -> None:
        """Raises OSError."""
        self._kernel = kernel
        data = attributes(version(kernel))
        buffer = ctypes.create_string_buffer(data, len(data))
        self._descriptor = kernel("landlock_create_ruleset", ctypes.addressof(buffer), len(data), 0)

    def put_on(self) -> None:
        """For this process, for ever; it must have given up new privileges before. Raises OSError."""
        self._kernel("landlock_restrict_self", self._descriptor, 0)
