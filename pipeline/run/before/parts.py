"""Whether stages train what needs a model in one piece, where processes share it out by parts."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.contract.errors import RecipeError
from pipeline.models.mtp.section import PARTED
from pipeline.recipe import accelerate_config
from pipeline.recipe.recipe import Step


def check(config: Path, steps: Iterable[Step]) -> None:
    """Raises RecipeError with a line for each stage whose module for multi-token prediction needs more of the model
    than a process has by this accelerate config."""
    if not accelerate_config.read(config).parted:
        return
    faults = [f"{step.place}: {step.name}.{PARTED}" for step in steps if _with_module(step)]
    if faults:
        raise RecipeError(faults)


def _with_module(step: Step) -> bool:
    work = step.config.work() if type(step.config).distributed else None
    return work is not None and any(trained.mtp == "with" for trained in work.trained)
