"""The shipped accelerate configs, for two processes on CPUs."""

from importlib.util import find_spec
from pathlib import Path

import pytest

import recipes

SHIPPED = Path(next(iter(recipes.__path__))) / "accelerate"
CONFIGS = {
    file.stem: file.read_text()
    .replace("num_processes: 8", "num_processes: 2").replace("MULTI_GPU", "MULTI_CPU") + "use_cpu: true\n"
    for file in sorted(SHIPPED.glob("*.yaml")) if "num_machines: 1\n" in file.read_text()
}
NEEDS = {
    kind: [pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs deepspeed: make parallel")]
    if kind.startswith("zero") else [] for kind in CONFIGS
}
"""Marks of the tests of each kind."""
