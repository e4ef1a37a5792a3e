"""The config of every model of a recipe: of one that is given, as it lies there; of one that a stage makes, by
following the recipe."""

import functools
from pathlib import Path

from eval.language_model import Tokenizer
from pipeline.contract.errors import StageError
from pipeline.costs.assumptions import Assumptions
from pipeline.disk.durable import JsonObject
from pipeline.models import origin, pretrained
from pipeline.models.shrunk import shrunk
from pipeline.recipe.inputs import InputError, Source, resolve_hub
from pipeline.recipe.recipe import Recipe, Step
from pipeline.recipe.shrink.configs import shipped_config


class Lineage:
    """What transformers is asked about a model, it is asked once."""

    def __init__(self, recipe: Recipe, assumed: Assumptions) -> None:
        self.recipe, self.assumed = recipe, assumed
        self._given = functools.cache(_given)
        self._made = functools.cache(self._made_by)
        self._tokenizer = functools.cache(pretrained.load_tokenizer)

    def config(self, step: Step, reference: str) -> JsonObject:
        """The fields of the config of the model at an input. Raises StageError where it cannot be reached."""
        source = step.sources[reference]
        return self._made(reference) if source.origin == "stage" else self._given(source)

    def made(self, step: Step) -> JsonObject:
        """The same of the model that a stage makes. Raises StageError."""
        return self._made(step.name)

    def tokenizer(self, step: Step, reference: str) -> Tokenizer | None:
        """The tokenizer of the model at an input, where one that lies here can be had of what that is made of. One
        inside a GGUF file is not: reading it takes half a minute. Raises StageError."""
        path = self._root(step, reference)
        return None if path is None or path.suffix == ".gguf" else self._tokenizer(path)

    def _root(self, step: Step, reference: str) -> Path | None:
        source = step.sources[reference]
        if source.origin != "stage":
            return source.path
        maker = self.recipe.steps[reference]
        made_of = maker.config.made_of()
        return None if made_of is None else self._root(maker, made_of)

    def _made_by(self, name: str) -> JsonObject:
        step = self.recipe.steps[name]
        made_of = step.config.made_of()
        below: JsonObject = {} if made_of is None else self.config(step, made_of)
        fields = dict(step.config.config_of_made(below))
        if made_of is None:
            if not fields:
                raise StageError(f"{step.kind} does not say what model it makes")
            fields[origin.MARK] = True
            fields.setdefault("vocab_size", self._vocabulary(step))
        work = step.config.work()
        for trained in work.trained if work else ():
            if trained.learning.get("dtype"):
                fields["dtype"] = trained.learning["dtype"]
        return fields

    def _vocabulary(self, step: Step) -> int:
        """Of a model that is made from nothing: that of the model whose tokenizer it takes, which is the one model that
        it can read."""
        for reference, source in step.sources.items():
            if source.type == "model":
                return int(self.config(step, reference)["vocab_size"])
        return self.assumed.vocabulary


def _given(source: Source) -> JsonObject:
    """The fields of the config of a path or of a repository of the hub, of which nothing else is downloaded."""
    if source.config is not None:
        return shrunk(source.config)
    if source.origin == "hub" and not source.commit:
        shipped = shipped_config(source)
        if shipped is not None:
            return shipped
        try:
            resolve_hub(source)
        except InputError as error:
            raise StageError(str(error)) from error
    return pretrained.config_of(source.path or source.repository, source.commit or None)
