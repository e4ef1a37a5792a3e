"""Every field is told of in words, with what it holds and its default, as the models have it."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel

from pipeline.authoring import fields
from pipeline.authoring.fields import Field
from pipeline.contract.fields import Input, ModelInput, PlugIn
from pipeline.contract.numbers import Probability, Steps, Temperature
from pipeline.recipe.plugins import registry_of
from pipeline.stage import ArtifactType, Context, Metrics, Stage


class Shape(Enum):
    ROUND = "round"
    SQUARE = "square"


class Inner(BaseModel):
    """A section."""

    depth: Steps = 3
    names: list[str] = []


class Mine(Stage):
    """A stage of somebody's own."""

    kind: ClassVar[str] = "mine"
    makes: ClassVar[ArtifactType] = "report"

    whole: Inner = Inner(depth=5)
    parts: list[Inner] = []
    perhaps: Inner | None = None
    model: ModelInput
    steps: Steps | None = 2
    heat: Annotated[Temperature, "a mark of no meaning"] = 1.0
    pair: tuple[Probability, Probability] = (0.9, 0.95)
    sets: Annotated[list[str], PlugIn("problem set")] = ["a:b"]
    reports: list[Annotated[str, Input("report")]] = []
    place: Path = Path("here")
    shape: Shape = Shape.ROUND
    either: float | Literal["auto"] = "auto"
    shares: dict[Literal["a", "b"], Probability] = {}
    anything: Any = None

    def run(self, ctx: Context) -> Metrics:
        return {}


def of(name: str) -> Field:
    return next(field for field in fields.sections(Mine, "mine")[0].fields if field.name == name)


@pytest.mark.parametrize(("name", "holds", "default"), [
    ("whole", "section", "{depth: 5}"),
    ("parts", "list of sections", "none"),
    ("perhaps", "section", "null"),
    ("model", "a model", "required"),
    ("steps", "whole number, 1 to 1,000,000 steps; or null", "2"),
    ("heat", "number, 0 to 100", "1.0"),
    ("pair", "list of 2 numbers, 0 to 1", "[0.9, 0.95]"),
    ("sets", "list of problem sets", "['a:b']"),
    ("reports", "list of reports", "[]"),
    ("place", "text", "here"),
    ("shape", "one of round, square", "round"),
    ("either", "number or auto", "auto"),
    ("shares", "mapping of a, b to number, 0 to 1", "{}"),
    ("anything", "anything", "null"),
    ("threads", "whole number, 1 to 256", "1"),
])
def test_what_a_field_holds(name: str, holds: str, default: str) -> None:
    assert of(name)[1:3] == (holds, default)


def test_what_has_to_be_written_comes_first_and_what_is_shared_last() -> None:
    names = [field.name for field in fields.sections(Mine, "mine")[0].fields]
    assert names[:2] == ["model", "whole"]
    assert names[-1] == "threads"


def test_a_section_is_told_once() -> None:
    _, inner = fields.sections(Mine, "mine")
    assert (inner.name, [field.name for field in inner.fields]) == ("whole", ["depth", "names"])


def test_every_field_that_comes_along_says_what_it_does() -> None:
    stages = [(entry.name, entry.load()) for entry in registry_of("stage").entries()]
    found = [fields.of_recipe(), *(fields.sections(stage, name) for name, stage in stages)]
    silent = [f"{section.model}.{field.name}" for sections in found for section in sections
              for field in section.fields if not field.told]
    assert silent == []
    assert len(found) > 8


def test_bounds_are_those_that_are_checked() -> None:
    """Where a field narrows the bounds of its kind of number, the narrower ones are told."""
    stage = registry_of("stage").resolve("grpo").load()
    grpo = {field.name: field for field in fields.sections(stage, "grpo")[0].fields}
    assert grpo["group_size"].holds == "whole number, 2 to 100,000"
    assert grpo["temperature"].holds == "number, above 0, up to 100"
    assert grpo["reward"].default == "{rules: {format: 0.2}}"


def test_a_recipe_is_called_like_its_file() -> None:
    top, checkpoints = fields.of_recipe()
    assert {field.name: field.default for field in top.fields}["name"] == "the file's name"
    assert [field.name for field in checkpoints.fields] == ["every_seconds", "every_steps"]
