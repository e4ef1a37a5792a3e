"""Whether the programs are here that stages start vLLM with: a plan may be made where they are not."""

import shutil
from collections.abc import Iterable

from pipeline.contract.errors import RecipeError
from pipeline.recipe.recipe import Step
from pipeline.serving.section import Engines


def check(steps: Iterable[Step]) -> None:
    """Raises RecipeError with a line for each stage whose `vllm.python` is no program."""
    faults = [
        f"{step.place}: {step.name}.vllm.python: there is no program {config.vllm.python} here; it is the interpreter "
        "of an environment with vLLM"
        for step in steps
        if isinstance(config := step.config, Engines) and config.vllm.python and not shutil.which(config.vllm.python)
    ]
    if faults:
        raise RecipeError(faults)
