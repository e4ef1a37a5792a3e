"""Whether the models that stages train are in a precision that can be trained: all of it is known before."""

from collections.abc import Iterable, Iterator

from pipeline.contract.errors import RecipeError
from pipeline.disk import durable
from pipeline.recipe.inputs import Source, is_adapter
from pipeline.recipe.recipe import Step
from pipeline.training.learning import untrainable


def check(steps: Iterable[Step]) -> None:
    """Raises RecipeError with a line for each stage that would train a given model in the float16 that it was saved in.

    What a stage hands on in float16, and adapters, whose base says the precision, are looked at when training begins.
    """
    faults = [f"{step.place}: {step.name}.dtype: {fault}" for step in steps for fault in dict.fromkeys(_faults(step))]
    if faults:
        raise RecipeError(faults)


def _faults(step: Step) -> Iterator[str]:
    work = step.config.work()
    for trained in work.trained if work else ():
        if trained.model is not None and trained.learning.get("dtype") is None:
            saved = _saved(step.sources[trained.model])
            if saved is not None and (fault := untrainable(saved)):
                yield fault


def _saved(source: Source) -> str | None:
    """The precision that a given model's config names; None where it lies in no folder or is quantized, and so is
    widened when it is loaded."""
    file = source.path / "config.json" if source.path else None
    if file is None or not file.is_file() or is_adapter(file.parent):
        return None
    found = durable.read_json(file)
    if found.get("quantization_config"):
        return None
    text = found.get("text_config", found)
    return str(text.get("dtype") or text.get("torch_dtype") or found.get("dtype") or "").removeprefix("torch.")
