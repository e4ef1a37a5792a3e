"""A recipe says how isolated model-written programs must be; every run's log says how isolated they are."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.contract.errors import RecipeError
from pipeline.recipe import recipe
from pipeline.store.run_folder import RunFolder
from rewards.sandbox.levels import Level
from rewards.sandbox.pool import sandbox

Write = Callable[..., Path]
STAGES = 'stages:\n  base: {kind: "tiny.py:Make"}\n'


def test_what_there_is_is_enough(write_recipe: Write) -> None:
    level = sandbox.report().level
    assert recipe.read(str(write_recipe(STAGES))).sandbox_at_least is Level.L1
    assert recipe.read(str(write_recipe(f"sandbox_at_least: {level.name}\n{STAGES}"))).sandbox_at_least is level


def test_less_is_refused_in_one_line(write_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.pool.close()
    monkeypatch.setattr(sandbox, "most", Level.L1)
    path = write_recipe(f"name: x\nsandbox_at_least: L3\n{STAGES}")
    with pytest.raises(RecipeError) as caught:
        recipe.read(str(path))
    sandbox.pool.close()
    (line,) = caught.value.lines
    assert line.startswith(f"{path}:2: sandbox_at_least: here it is L1, ")


def test_an_unknown_level(write_recipe: Write) -> None:
    path = write_recipe(f"sandbox_at_least: L5\n{STAGES}")
    with pytest.raises(RecipeError, match="1: sandbox_at_least: should be 'L1', 'L2', 'L3' or 'L4'"):
        recipe.read(str(path))


def test_the_log_and_the_job_tell(write_recipe: Write, capsys: pytest.CaptureFixture[str]) -> None:
    level = sandbox.report().level
    assert cli.main(["run", str(write_recipe(f"name: told\nsandbox_at_least: {level.name}\n{STAGES}"))]) == 0
    said = f"model-written programs run at {level.name}, "
    notes = [row["text"] for row in RunFolder(Path("runs/told")).ledger() if row["event"] == "note"]
    assert notes[0].startswith(said)
    assert said in capsys.readouterr().out
    assert json.loads(Path("runs/told/recipe.json").read_text())["sandbox_at_least"] == level.name
