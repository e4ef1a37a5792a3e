"""recipes/FIELDS.md and recipes/schema.json are what `make fields` would write, and the schema is right."""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from pipeline.authoring import schema
from pipeline.commands import cli
from pipeline.contract.errors import RecipeError
from pipeline.disk.durable import JsonObject
from pipeline.recipe import recipe, strict_yaml

RECIPES = Path(recipe.__file__).parents[2] / "recipes"
SCHEMA = json.loads((RECIPES / "schema.json").read_text())
CHECK = jsonschema.Draft7Validator(SCHEMA)


@pytest.mark.parametrize(("file", "words"), [
    ("FIELDS.md", ["list", "stages", "--markdown"]), ("schema.json", ["list", "schema"]),
])
def test_what_is_generated_is_of_now(file: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    assert capsys.readouterr().out == (RECIPES / file).read_text(), "run make fields"


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", recipe.shipped().values(), ids=lambda file: file.stem)
def test_every_shipped_recipe_is_right_by_it(file: Path) -> None:
    assert [error.message for error in CHECK.iter_errors(strict_yaml.read_file(file).data)] == []
    summary, second, *_ = file.read_text().splitlines()
    assert summary.startswith("# ")
    assert second == "# yaml-language-server: $schema=schema.json"


def grpo(**fields: object) -> JsonObject:
    """A recipe of one grpo stage."""
    return {"stages": {"zero": {"kind": "grpo", "model": "org/name", "problems": ["a:train"], "steps": 2, **fields}}}


@pytest.mark.parametrize("wrong", [
    {"stages": {}}, {"seed": 1}, {"stages": {"1": {"kind": "mine.py:Mine"}}}, {"stages": {"a": {"steps": 1}}},
    {"stages": {"a": {"kind": "grpp"}}}, {**grpo(), "sead": 1}, {**grpo(), "seed": -1}, {**grpo(), "leaks": "go"},
    {"stages": {"zero": {"kind": "grpo", "model": "org/name", "steps": 2}}},
    grpo(stepz=1), grpo(steps="2"), grpo(steps=0), grpo(steps=2.5), grpo(group_size=1), grpo(scale="all"),
    grpo(optimizer={"beta": 1}), grpo(optimizer={"betas": [0.9, 2.0]}), grpo(lora={"rank": 0}), grpo(problems=[]),
    grpo(reward={"rules": {"overlong": {"moost": 5}}}), grpo(reward={"rules": {"format": "much"}}),
], ids=json.dumps)
def test_what_is_wrong_is_wrong_by_it_and_by_plan(wrong: JsonObject, tmp_path: Path) -> None:
    assert [*CHECK.iter_errors(wrong)]
    (tmp_path / "wrong.yaml").write_text(json.dumps(wrong))
    with pytest.raises(RecipeError):
        recipe.read(str(tmp_path / "wrong.yaml"))


@pytest.mark.parametrize("right", [
    grpo(), grpo(reward={"correct": 0, "rules": {"format": {"weight": 1}, "mine.py:rule": {"most": 2}, "length": 1}}),
    grpo(optimizer={"name": "adamw", "betas": [0.9, 0.95]}, lora={"rank": 4}, learning_rate=None),
    {**grpo(), "name": "x", "seed": 3, "checkpoints": {"every_steps": 2}},
    {"stages": {"a": {"kind": "mine.py:Mine", "whatever": [1]}, "b": {"kind": "package.stages:Mine"}}},
], ids=json.dumps)
def test_what_is_right_is_right_by_it(right: JsonObject) -> None:
    assert [error.message for error in CHECK.iter_errors(right)] == []


def test_a_stage_of_an_installed_package_has_any_fields() -> None:
    check = jsonschema.Draft7Validator(schema.of_recipe({}, ["count"]))
    assert [*check.iter_errors({"stages": {"a": {"kind": "count", "whatever": 1}}})] == []
    assert [*check.iter_errors({"stages": {"a": {"kind": "grpo"}}})]


def test_every_alias_is_read_before(write_recipe: Callable[..., Path]) -> None:
    """An anchor is no key of its own: editors see what it stands for, as the reader does."""
    text = "stages:\n  a: &a {kind: 'mine.py:Mine', n: [1]}\n  b: *a\n"
    assert [*CHECK.iter_errors(strict_yaml.read_file(write_recipe(text)).data)] == []
