"""vLLM's servers, as recipes name them: whether the programs are here that stages start them with, since a plan may be
made where they are not; and which stages use one that is there."""

import shutil
from collections.abc import Iterable

from pipeline.contract.errors import RecipeError
from pipeline.recipe.recipe import Step
from pipeline.serving.section import Engines


def url_of(step: Step) -> str | None:
    """Where the server is that a stage sends its model to, and that others may use as well."""
    config = step.config
    url = config.vllm.url if isinstance(config, Engines) and config.engine == "vllm" else None
    return url and url.rstrip("/")


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
