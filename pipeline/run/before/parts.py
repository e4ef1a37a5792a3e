"""Whether stages train in a way that the processes of an accelerate config can share: all of it is known before."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.contract.errors import RecipeError
from pipeline.contract.processes import undrawn, unshared
from pipeline.contract.work import Drawn, Trained, Work
from pipeline.models.mtp.section import PARTED
from pipeline.recipe import accelerate_config
from pipeline.recipe.accelerate_config import AccelerateConfig
from pipeline.recipe.recipe import Step
from pipeline.serving.section import FOR_ONE
from pipeline.training.fp8.section import SHARED
from pipeline.training.layers.section import COMPILED_IN_PARTS
from pipeline.training.learning import ADAPTERS_IN_PARTS, unshareable


def check(config: Path, steps: Iterable[Step]) -> None:
    """Raises RecipeError with a line for each fault of a stage that would be told when it begins to train: what needs
    more of the model than a process has by this accelerate config, or has no equal share for each."""
    found = accelerate_config.read(config)
    faults = []
    for step in steps:
        work = step.config.work() if type(step.config).distributed else None
        if work:
            faults += [f"{step.place}: {step.name}.{fault}" for fault in dict.fromkeys(_faults(found, work))]
    if faults:
        raise RecipeError(faults)


def _faults(found: AccelerateConfig, work: Work) -> Iterator[str]:
    """Each begins with the field that it is of."""
    drawn = [one for one in work.drawn if one.trained]
    for trained in work.trained:
        if found.parted and trained.mtp == "with":
            yield PARTED
        if found.collective and trained.fp8:
            yield SHARED
        if found.collective and trained.compiled:
            yield COMPILED_IN_PARTS
        if found.parted and trained.adapters is not None and drawn:
            yield f"lora: {ADAPTERS_IN_PARTS}"
        fault = unshareable(_optimizer(trained), trained.learning.get("dtype"), fsdp=found.kind == "FSDP",
                            deepspeed=found.kind == "DEEPSPEED")
        if fault:
            yield f"{'dtype' if fault.startswith('weights') else 'optimizer'}: {fault}"
        yield from _undrawn(drawn, found.processes)
        # What is drawn is dealt out by rollouts, all of a round at once.
        batches = [one.prompts * one.each for one in drawn if one.prompts is not None] or [trained.batch]
        yield from (f"{'prompts_per_step' if drawn else 'batch_size'}: {fault}"
                    for batch in batches if (fault := unshared(batch, found.processes)))


def _undrawn(drawn: Iterable[Drawn], processes: int) -> Iterator[str]:
    for one in drawn:
        if one.started and processes > 1:
            yield f"vllm: {FOR_ONE}"
        inside = one.vllm is not None and one.vllm.where == "inside"
        if one.dynamic and one.prompts is not None and (
            fault := undrawn(one.prompts * one.each, one.each, processes, inside=inside)
        ):
            yield f"dynamic_sampling: {fault}"


def _optimizer(trained: Trained) -> str | None:
    """Its name; None where that depends on where the model comes from (`training/optimizer/choice.py`)."""
    name: str | None = (trained.learning.get("optimizer") or {}).get("name")
    if name is None and (trained.model is None or trained.learning.get("adam_learning_rate") is not None):
        return "muon"
    return name
