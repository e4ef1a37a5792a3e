"""Whether this machine has what `compile: true` needs on a processor, where torch.compile writes C++."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from pipeline.contract.errors import RecipeError
from pipeline.recipe.recipe import Step
from rewards.lazy import lazy

with lazy:
    import torch


def check(steps: Iterable[Step]) -> None:
    """Raises RecipeError with a line for each stage that would compile where there is no compiler, or none of the
    headers that it reads."""
    compiled = [step for step in steps if (work := step.config.work()) and any(one.compiled for one in work.trained)]
    if not compiled or torch.cuda.is_available():
        return
    if missing := _missing():
        raise RecipeError([f"{step.place}: {step.name}.compile: on a processor torch.compile needs {missing}; install "
                           "it, or leave compile out" for step in compiled])


def _missing() -> str | None:
    """What torch takes by default (`torch._inductor.config.cpp.cxx`), where it is not there."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if not shutil.which(name):
        return f"a C++ compiler, and {name} is not on PATH (CXX names another)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "Python's header files, and Python.h is not there (Debian's package python3-dev has it)"
    return None
