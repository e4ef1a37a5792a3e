"""Prompts, answers and rows held against the context of the models that are asked and trained, before any stage runs.

What a model was made for stands in the config of the one that was given, or in the architecture of the one that is
made, and goes down the lineage from there; so does the tokenizer.
"""

from collections.abc import Iterator
from pathlib import Path

from eval.problems import load
from pipeline.contract.errors import RecipeError, StageError
from pipeline.contract.room import Room, limit_of, require_room, require_rows_fit
from pipeline.contract.stage import stage_seed
from pipeline.disk import durable
from pipeline.recipe.recipe import Recipe, Step
from rewards.lazy import lazy

with lazy:
    from eval.language_model import Tokenizer
    from eval.prompts import encode_prompts
    from pipeline.models import pretrained


def check(recipe: Recipe, *, exactly: bool) -> None:
    """Raises RecipeError with a line for each stage whose rows or answers alone are longer than its model's context.

    With `exactly` prompts and answers are looked at together, for which tokenizers are loaded and prompts encoded:
    those of models that were given, since others have none yet and are looked at when their stage begins.
    """
    faults = [*_of_rows(recipe, exactly)]
    for step, reference, room in _asked(recipe):
        context = _context(recipe, step, reference, exactly)
        who = f"{step.name}: {reference}"
        try:
            require_room([()], room, context, who)
            if exactly and context is not None:
                _require_exactly(recipe, step, room, context, _given(recipe, step, reference), who)
        except StageError as error:
            faults.append(f"{step.place}: {error}")
    if faults:
        raise RecipeError(faults)


def _of_rows(recipe: Recipe, exactly: bool) -> Iterator[str]:
    for step in recipe.steps.values():
        reference = step.config.made_of()
        if reference is not None:
            try:
                context = _context(recipe, step, reference, exactly)
                require_rows_fit(step.config.longest_row(), context, f"{step.name}: {reference}")
            except StageError as error:
                yield f"{step.place}: {error}"


def _asked(recipe: Recipe) -> Iterator[tuple[Step, str, Room]]:
    for step in recipe.steps.values():
        if (room := step.config.room()) and not room.beyond:
            yield from ((step, reference, room) for reference in room.models)


def _context(recipe: Recipe, step: Step, reference: str, exactly: bool) -> int | None:
    """The context of the model at an input; None where it is unknown, or not known without loading libraries for it and
    not `exactly` wanted."""
    source = step.sources[reference]
    if source.origin == "stage":
        maker = recipe.steps[reference]
        made_of = maker.config.made_of()
        return maker.config.context_of_made(None if made_of is None else _context(recipe, maker, made_of, exactly))
    if source.path is None:
        return None
    for config in (source.path / "model" / "config.json", source.path / "config.json"):
        if config.is_file():
            found = durable.read_json(config)
            # A model of several kinds of input has the text's fields in a block of their own.
            return limit_of(found.get("text_config", found))
    # Of a GGUF file and of an adapter's base transformers knows where the config is, and takes seconds to load.
    return pretrained.context_of(source.path) if exactly else None


def _given(recipe: Recipe, step: Step, reference: str) -> Path | None:
    """Where the model lies that the one at an input is made of, if it was given as a path."""
    source = step.sources[reference]
    if source.origin != "stage":
        return source.path
    maker = recipe.steps[reference]
    made_of = maker.config.made_of()
    return None if made_of is None else _given(recipe, maker, made_of)


def _require_exactly(recipe: Recipe, step: Step, room: Room, context: int, given: Path | None, who: str) -> None:
    if given is None:
        return
    tokenizer: Tokenizer = pretrained.load_tokenizer(given)
    for use in step.config.asks(stage_seed(recipe.seed, step.name)):
        problems = load(use.reference, use.n, use.seed, base=recipe.folder)
        prompts = encode_prompts(tokenizer, problems, room.prompting)
        require_room(prompts, room, context, f"{who} on {use.reference}")
