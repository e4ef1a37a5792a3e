"""A Triton for processors, which interprets: vLLM's second model runner, which alone tells experts, asks for one, and
its kernels there are few and small. Nothing is compiled; a step of 32 rollouts takes about half a second.

Triton looks for what it computes on among the entry points of packages (`triton.backends`), and vLLM among those for
one that is called `cpu`; Triton's own interpreter (TRITON_INTERPRET) then runs every kernel in numpy.
Triton's base classes want methods of a compiler as well, which an interpreter never calls; they raise.
"""

from pathlib import Path

_COMPILER = """
from triton.backends.compiler import BaseBackend


class Interpreted(BaseBackend):
    @staticmethod
    def supports_target(target):
        return target.backend == "cpu"

    def hash(self):
        return "interpreted"

    def parse_options(self, options):
        raise NotImplementedError

    def add_stages(self, stages, options):
        raise NotImplementedError

    def load_dialects(self, context):
        raise NotImplementedError

    def get_module_map(self):
        return {}
"""

_DRIVER = """
import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase


class Interpreter(DriverBase):
    @classmethod
    def is_active(cls):
        return True

    def get_current_target(self):
        return GPUTarget("cpu", 0, 1)

    def get_active_torch_device(self):
        return torch.device("cpu")

    def map_python_to_cpp_type(self, ty):
        raise NotImplementedError

    def get_benchmarker(self):
        raise NotImplementedError
"""


def interpreting(python: str, folder: Path) -> Path:
    """A program in `folder` that is the interpreter `python` with such a Triton."""
    files = {
        "interpreted/__init__.py": "", "interpreted/compiler.py": _COMPILER, "interpreted/driver.py": _DRIVER,
        "interpreted-0.dist-info/METADATA": "Metadata-Version: 2.1\nName: interpreted\nVersion: 0\n",
        "interpreted-0.dist-info/entry_points.txt": "[triton.backends]\ncpu = interpreted\n",
        "python": f'#!/bin/sh\nTRITON_INTERPRET=1 PYTHONPATH={folder}:$PYTHONPATH exec {python} "$@"\n',
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "python").chmod(0o755)
    return folder / "python"
