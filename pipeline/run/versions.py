"""Versions of what a result depends on."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rewards.lazy import lazy

with lazy:
    import torch

    from pipeline.training.placement import own_device


PACKAGES = ("retort", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy")

PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""One path through the kernels of torch, MKL and oneDNN, which otherwise choose by the processor: with AVX-512 the last
bits of sums are others than without, and so is what is trained."""

_PORTABLY = ", portable"


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
    """What arithmetic is done on, as far as results depend on it: the vector instructions of a processor and whether it
    computes portably, or the GPU."""
    if "torch" not in sys.modules:  # nothing is computed then
        return platform.machine()

    if (device := own_device()).type == "cuda":
        return torch.cuda.get_device_name(device)
    # Sums differ in their last bits between AVX2 and AVX-512, and so does what is trained.
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}{_PORTABLY if is_portable() else ''}"


def is_portable() -> bool:
    """Whether this process and the stages that it starts compute as `--portable` asks for."""
    return all(os.environ.get(name) == value for name, value in PORTABLE.items())


def chose_by_processor(made_on: str) -> bool:
    """Whether what `hardware` said is an x86 processor that chose its own path through the kernels."""
    return made_on.startswith(("x86_64 ", "AMD64 ")) and not made_on.endswith(_PORTABLY)
