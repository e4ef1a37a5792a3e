"""This machine as a device: its memory, its arithmetic and its bandwidth, measured in seconds."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from pipeline.contract.errors import CommandError
from pipeline.costs.devices import THIS, Device
from pipeline.run import launch

SIDES = {"cpu": 1024, "cuda": 8192}
"""Of the matrices that are multiplied: on a GPU so large that a product takes longer than to start it and to wait."""
COPIED = 2**27
"""Bytes that are copied: more than caches hold."""
ROUNDS = 3

_LOADED = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n" \
    "import torch\nx = torch.randn(256, 256, requires_grad=True)\n(x @ x).sum().backward()\n" \
    "print(next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1])"
"""What a process does before a stage: it loads the libraries, and the kernels that each operator has."""


def this_machine(threads: int) -> Device:
    """Its processors, so many of them, measured. The price is nothing. A GPU of this machine is taken where there is
    one: its memory is asked for, and it is measured as processors are."""
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        memory, cores = torch.cuda.get_device_properties(0).total_memory, 0
        device = torch.device("cuda")
    else:
        memory, cores = _memory(), os.cpu_count() or 1
        device = torch.device("cpu")
    with torch.no_grad():
        wide, half = (_multiplied(device, dtype) for dtype in (torch.float32, torch.bfloat16))
        return Device(THIS, memory, half, wide, _copied(device), 0.0, cores)


def libraries(modules: Iterable[str]) -> int:
    """Bytes that a process has with these modules loaded, as stages are started. Raises CommandError."""
    done = subprocess.run([sys.executable, "-P", "-c", _LOADED, *modules], env=launch.environment(),
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"the libraries of stages do not load: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout.split()[-1]) * 1024


def _memory() -> int:
    """What the system has, or the least that a control group of this process leaves it."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        whole = int(lines["MemTotal"].split()[0]) * 1024
    except OSError:  # another system than Linux
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limit = Path("/sys/fs/cgroup/memory.max")
    said = limit.read_text().strip() if limit.is_file() else "max"
    return whole if said == "max" else min(whole, int(said))


def _multiplied(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a multiplication of matrices."""
    side = SIDES[device.type]
    one = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / _seconds(lambda: one @ one, device)


def _copied(device: torch.device) -> float:
    """Bytes/s that a copy reads and writes."""
    one = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    other = torch.empty_like(one)
    return 2 * COPIED / _seconds(lambda: other.copy_(one), device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The least of some rounds, after one that is not counted."""
    least = float("inf")
    for number in range(ROUNDS + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number:
            least = min(least, time.perf_counter() - began)
    return least
