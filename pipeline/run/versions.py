"""Versions of what a result depends on."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rewards.lazy import lazy

with lazy:
    import torch


PACKAGES = ("retort", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy")


def versions() -> dict[str, str]:
    """Python's and those of the packages that are installed."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's name as its maker has it; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # another system than Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def hardware() -> str:
    """What arithmetic is done on, as far as results depend on it: the vector instructions of a processor, or the
    GPU."""
    if "torch" not in sys.modules:  # nothing is computed then
        return platform.machine()

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    # Sums differ in their last bits between AVX2 and AVX-512, and so does what is trained.
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
