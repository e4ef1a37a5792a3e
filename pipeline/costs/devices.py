"""The devices that a plan can be made for, by name."""

import re
from dataclasses import dataclass

from pipeline.contract.errors import CommandError
from rewards.registry import did_you_mean

GIB = 2**30
THIS = "this"


@dataclass(frozen=True)
class Device:
    """What it has, by its maker's data sheet: `memory` in bytes as programs see it, dense arithmetic in FLOP/s,
    `bandwidth` of its memory in bytes/s; and `price`, dollars an hour, about what was asked on demand in 2026, which
    varies by a factor of three. `cores` is 0 for GPUs."""

    name: str
    memory: int
    bfloat16: float
    float32: float
    bandwidth: float
    price: float
    cores: int = 0

    @property
    def processor(self) -> bool:
        return self.cores > 0


def _gpu(name: str, gib: float, tera: tuple[float, float], terabytes: float, price: float) -> Device:
    return Device(name, int(gib * GIB), tera[0] * 1e12, tera[1] * 1e12, terabytes * 1e12, price)


DEVICES = {
    one.name: one for one in (
        _gpu("a100-40gb", 39.4, (312, 19.5), 1.555, 1.3),
        _gpu("a100-80gb", 79.2, (312, 19.5), 2.039, 1.8),
        _gpu("h100", 79.1, (989, 67), 3.35, 2.9),
        _gpu("h200", 139.8, (989, 67), 4.8, 3.6),
        _gpu("b200", 179.1, (2250, 75), 7.7, 5.5),
        _gpu("l40s", 44.4, (362, 91.6), 0.864, 1.2),
        _gpu("l4", 22.0, (121, 30.3), 0.3, 0.7),
        _gpu("rtx4090", 23.5, (165, 82.6), 1.008, 0.5),
        _gpu("mi300x", 191.0, (1307, 163), 5.3, 3.0),
    )
}
"""Float32 is without TF32, which torch leaves off for multiplications."""


def parse(text: str) -> tuple[int, str]:
    """(count, name) of `8xh100`, `h100` or `this`. Raises CommandError."""
    found = re.fullmatch(r"(?:(\d{1,5})x)?([\w-]+)", text.strip().lower())
    count, name = (int(found[1] or 1), found[2]) if found else (1, text)
    if name not in DEVICES and name != THIS:
        raise CommandError(f"--on {text}: there is no device {name!r}{did_you_mean(name, [*DEVICES, THIS])}")
    if count < 1 or (name == THIS and count > 1):
        raise CommandError(f"--on {text}: {'give one device at least' if count < 1 else 'this machine is one'}")
    return count, name
