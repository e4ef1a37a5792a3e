"""Prompts, answers and rows held against the context of the models that are asked and trained, before any stage runs.

What a model was made for stands in the config of the one that was given, or in the architecture of the one that is
made, and goes down the lineage from there; so does the tokenizer.
"""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

from eval.errors import PromptError
from eval.problems import load
from eval.shots import shots_of
from pipeline.contract import dataset
from pipeline.contract.errors import RecipeError, StageError
from pipeline.contract.room import Room, limit_of, require_room, require_rows_fit
from pipeline.contract.stage import stage_seed
from pipeline.disk import durable
from pipeline.recipe.inputs import is_adapter
from pipeline.recipe.recipe import Recipe, Step
from rewards.lazy import lazy

with lazy:
    from eval.language_model import Tokenizer
    from eval.prompts import encode_prompts
    from pipeline.data.tokenized import Wanted, require_first
    from pipeline.models import pretrained

FIRST = 64
"""Rows of a dataset that are put to a given model's chat template."""


def check(recipe: Recipe, *, exactly: bool) -> None:
    """Raises RecipeError with a line for each stage whose rows or answers alone are longer than its model's context.

    With `exactly` prompts and answers are looked at together, and the first rows of datasets are put as the stage puts
    them, for which tokenizers are loaded: those of models that were given, since others have none yet and are looked at
    when their stage begins.
    """
    faults = [*_Contexts(recipe, exactly).faults()]
    if faults:
        raise RecipeError(faults)


class _Contexts:
    """The contexts of a recipe's models. What transformers is asked about a given model, it is asked once: it reads a
    GGUF file's whole vocabulary for its config, and again for its tokenizer."""

    def __init__(self, recipe: Recipe, exactly: bool) -> None:
        self.recipe, self.exactly = recipe, exactly
        # Looked up when they are called, since that loads transformers.
        self.of_path = functools.cache(lambda path: pretrained.context_of(path))
        self.tokenizer = functools.cache(lambda path: pretrained.load_tokenizer(path))

    def faults(self) -> Iterator[str]:
        for step in self.recipe.steps.values():
            reference = step.config.made_of()
            if reference is not None:
                try:
                    context = self._context(step, reference)
                    require_rows_fit(step.config.longest_row(), context, f"{step.name}: {reference}")
                except StageError as error:
                    yield f"{step.place}: {error}"
            if self.exactly and reference is not None:
                try:
                    self._require_rows(step, reference)
                except (StageError, PromptError) as error:
                    yield f"{step.place}: {step.name}: {error}"
        for step, reference, room in self._asked():
            try:
                self._require_room(step, reference, room)
            except StageError as error:
                yield f"{step.place}: {error}"
            except PromptError as error:
                yield f"{step.place}: {step.name}: {reference}: {error}"

    def _require_rows(self, step: Step, reference: str) -> None:
        how, given = step.config.puts_rows(), self._given(step, reference)
        if how is None or given is None:
            return
        work = step.config.work()
        limit = min((one.limit for one in work.trained if one.limit), default=FIRST) if work else FIRST
        for name, source in step.sources.items():
            if source.type == "dataset" and source.origin != "stage" and source.path:
                drop = dataset.drops_bad_rows(step.config)
                wanted = Wanted(source.path, dataset.parse(name).selection, how, drop=drop)
                require_first(self.tokenizer(given), wanted, min(FIRST, limit))

    def _asked(self) -> Iterator[tuple[Step, str, Room]]:
        for step in self.recipe.steps.values():
            if (room := step.config.room()) and not room.beyond:
                yield from ((step, reference, room) for reference in room.models)

    def _require_room(self, step: Step, reference: str, room: Room) -> None:
        context, who = self._context(step, reference), f"{step.name}: {reference}"
        require_room([()], room, context, who)
        given = self._given(step, reference)
        if not self.exactly or context is None or given is None:
            return
        tokenizer: Tokenizer = self.tokenizer(given)
        for use in step.config.asks(stage_seed(self.recipe.seed, step.name)):
            if use.purpose == "shown":
                continue
            problems = load(use.reference, use.n, use.seed, base=self.recipe.folder)
            shots = shots_of(use.reference, room.shots, base=self.recipe.folder)
            prompts = encode_prompts(tokenizer, problems, dataclasses.replace(room.prompting, shots=shots))
            require_room(prompts, room, context, f"{who} on {use.reference}")

    def _context(self, step: Step, reference: str) -> int | None:
        """The context of the model at an input; None where it is unknown, or not known without loading libraries for it
        and not `exactly` wanted."""
        source = step.sources[reference]
        if source.origin == "stage":
            maker = self.recipe.steps[reference]
            made_of = maker.config.made_of()
            return maker.config.context_of_made(None if made_of is None else self._context(maker, made_of))
        if source.path is None:
            return None
        for config in (source.path / "model" / "config.json", source.path / "config.json"):
            if config.is_file() and not is_adapter(config.parent):
                found = durable.read_json(config)
                # A model of several kinds of input has the text's fields in a block of their own.
                return limit_of(found.get("text_config", found))
        # Of a GGUF file and of an adapter's base transformers knows where the config is, and takes seconds to load.
        return self.of_path(source.path) if self.exactly else None

    def _given(self, step: Step, reference: str) -> Path | None:
        """Where the model lies that the one at an input is made of, if it was given as a path."""
        source = step.sources[reference]
        if source.origin != "stage":
            return source.path
        maker = self.recipe.steps[reference]
        made_of = maker.config.made_of()
        return None if made_of is None else self._given(maker, made_of)
