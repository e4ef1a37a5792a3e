"""Whether stages train in a way that needs a model in one piece, where processes share it out."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.contract.errors import RecipeError
from pipeline.contract.work import Trained
from pipeline.models.mtp.section import PARTED
from pipeline.recipe import accelerate_config
from pipeline.recipe.recipe import Step
from pipeline.training.fp8.section import SHARED
from pipeline.training.layers.section import COMPILED_IN_PARTS


def check(config: Path, steps: Iterable[Step]) -> None:
    """Raises RecipeError with a line for each stage whose module for multi-token prediction, products in eight bits or
    compiled layers need more of the model than a process has by this accelerate config."""
    found = accelerate_config.read(config)
    faults = []
    for step in steps:
        trained = _trained(step)
        if found.parted and any(one.mtp == "with" for one in trained):
            faults.append(f"{step.place}: {step.name}.{PARTED}")
        if found.collective and any(one.fp8 for one in trained):
            faults.append(f"{step.place}: {step.name}.{SHARED}")
        if found.collective and any(one.compiled for one in trained):
            faults.append(f"{step.place}: {step.name}.{COMPILED_IN_PARTS}")
    if faults:
        raise RecipeError(faults)


def _trained(step: Step) -> Sequence[Trained]:
    work = step.config.work() if type(step.config).distributed else None
    return work.trained if work else ()
