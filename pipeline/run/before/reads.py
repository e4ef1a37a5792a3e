"""Whether stages can work with the models and rows that they read, as far as these lie here before any stage runs.

Of a model that an earlier stage makes of a given one, the tokenizer is the given one's, and the config follows from it.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

from eval.language_model import Tokenizer
from pipeline.contract.errors import RecipeError, StageError
from pipeline.contract.stage import Stage
from pipeline.disk.durable import JsonObject
from pipeline.models.checks.sizes import balance_fault
from pipeline.moe.balancing import NOT_ADAPTED, Balancing
from pipeline.recipe.recipe import Recipe, Step
from pipeline.serving.speculation import NO_MODULE
from rewards.lazy import lazy

with lazy:
    from transformers import AutoConfig

    from pipeline.distillation.teachers import require_same_tokenizer
    from pipeline.models import pretrained
    from pipeline.models.mtp import module, saved
    from pipeline.training.fp8.layers import require_known


def check(recipe: Recipe, *, exactly: bool) -> None:
    """Raises RecipeError with a line for each stage that would fail on what it reads: a teacher with another tokenizer,
    a family that has no module for multi-token prediction or is not known in eight bits, a model whose experts cannot
    be balanced so, a model without a module that is to draft, and what the stage itself says of its inputs.

    Without `exactly` only what the recipe itself tells of drafting is looked at, for which no model's files are read.
    """
    faults = [*_Inputs(recipe).faults(exactly=exactly)]
    if faults:
        raise RecipeError(faults)


class _Inputs:
    """What a recipe's stages read. What transformers is asked about a given model, it is asked once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        # Looked up when they are called, since that loads transformers.
        self.config_of = functools.cache(lambda path: pretrained.config_of(path))
        self.tokenizer_of = functools.cache(lambda path: pretrained.load_tokenizer(path))

    def faults(self, *, exactly: bool) -> Iterator[str]:
        for step in self.recipe.steps.values():
            try:
                self._require_drafts(step)
                if exactly:
                    self._require_trainable(step)
                    step.config.check_inputs(_OfStep(self, step))
            except StageError as error:
                yield f"{step.place}: {step.name}: {error}"

    def _require_drafts(self, step: Step) -> None:
        work = step.config.work()
        for drawn in work.drawn if work else ():
            if drawn.speculate == "mtp" and not _trains_module(step.config) and not self._may_draft(step, drawn.model):
                raise StageError(NO_MODULE)

    def _may_draft(self, step: Step, reference: str) -> bool:
        """Whether the model at an input may have a module for multi-token prediction; of one of the hub, and of one
        that a stage makes which does not tell what it trains, that is not known."""
        source = step.sources[reference]
        if source.origin != "stage":
            return source.path is None or (source.path / saved.FILE).is_file()
        maker = self.recipe.steps[reference]
        if maker.config.work() is None or _trains_module(maker.config):
            return True
        made_of = maker.config.made_of()
        return made_of is not None and self._may_draft(maker, made_of)

    def _require_trainable(self, step: Step) -> None:
        work, inputs = step.config.work(), _OfStep(self, step)
        for trained in work.trained if work else ():
            # A stage that makes its model from nothing has the config that it makes.
            fields = step.config.config_of_made({}) if trained.model is None else inputs.config(trained.model)
            if trained.mtp and fields:
                module.require_possible(AutoConfig.for_model(**fields))
            if trained.fp8 and fields:
                require_known(fields["model_type"])
            if trained.model is None:
                continue
            _require_balanceable(step.config, fields, adapted=trained.adapters is not None)
            if trained.teacher:
                mine, theirs = inputs.tokenizer(trained.model), inputs.tokenizer(trained.teacher)
                if mine is not None and theirs is not None:
                    require_same_tokenizer(mine, theirs, trained.teacher)

    def root(self, step: Step, reference: str) -> Path | None:
        """Where the model lies that the one at an input is made of, where it was given as a path. One in a GGUF file is
        passed over: transformers takes half a minute to read what is in there."""
        source = step.sources[reference]
        if source.origin != "stage":
            return None if source.path is None or source.path.suffix == ".gguf" else source.path
        maker = self.recipe.steps[reference]
        made_of = maker.config.made_of()
        return None if made_of is None else self.root(maker, made_of)

    def config(self, step: Step, reference: str) -> JsonObject | None:
        """The fields of the config of the model at an input, where its root is known and its makers can make it."""
        root, source = self.root(step, reference), step.sources[reference]
        if root is None:
            return None
        if source.origin != "stage":
            return dict(self.config_of(root))
        maker = self.recipe.steps[reference]
        made_of = maker.config.made_of()
        below = None if made_of is None else self.config(maker, made_of)
        if below is None:
            return None
        try:
            fields = dict(maker.config.config_of_made(below))
        except StageError:
            return None  # which is told of the stage that makes it
        work = maker.config.work()
        for trained in work.trained if work else ():
            fields["dtype"] = trained.learning.get("dtype") or fields.get("dtype")
        return fields


class _OfStep:
    """`pipeline.contract.stage.Known`, of one stage."""

    def __init__(self, inputs: _Inputs, step: Step) -> None:
        self._inputs, self._step = inputs, step

    def path(self, reference: str) -> Path | None:
        source = self._step.sources[reference]
        return None if source.origin == "stage" else source.path

    def config(self, reference: str) -> JsonObject | None:
        return self._inputs.config(self._step, reference)

    def tokenizer(self, reference: str) -> Tokenizer | None:
        root = self._inputs.root(self._step, reference)
        return None if root is None else self._inputs.tokenizer_of(root)


def _require_balanceable(config: Stage, fields: JsonObject | None, *, adapted: bool) -> None:
    wanted = dict(config).get("balance")
    if not isinstance(wanted, Balancing):  # a stage of one's own may call anything so
        return
    if wanted.bias_speed and adapted:
        raise StageError(NOT_ADAPTED)
    if fields and (said := balance_fault(fields, wanted)):
        raise StageError(said)


def _trains_module(config: Stage) -> bool:
    work = config.work()
    return work is not None and any(trained.mtp for trained in work.trained)
