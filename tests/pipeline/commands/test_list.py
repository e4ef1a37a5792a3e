"""`retort list`: fields of stages, of recipes, and what is asked wrongly."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli

Capture = pytest.CaptureFixture[str]


def listed(capsys: Capture, *words: str) -> str:
    assert cli.main(["list", *words]) == 0
    return capsys.readouterr().out


def test_every_field_of_a_stage(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = listed(capsys, "stages", "grpo")
    assert out.startswith("grpo: Group-relative policy optimization")
    assert "  steps                    whole number, 1 to 1,000,000 steps; required\n" in out
    assert "  problems_each            whole number, 1 to 1,000,000 problems; default 512\n" in out
    assert "\noptimizer:\n" in out
    assert max(map(len, out.splitlines()[1:])) <= 100


def test_fields_of_a_stage_of_ones_own(capsys: Capture, write_recipe: Callable[..., Path]) -> None:
    folder = write_recipe("").parent
    out = listed(capsys, "stages", f"{folder}/tiny.py:Make")
    assert "makes a model" in out.splitlines()[0]
    assert "\nphases:\n  length " in out


def test_the_list_of_stages_says_what_each_needs(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "needs model, data; retort list stages sft tells all " in listed(capsys, "stages")


def test_the_top_level_and_the_schema(capsys: Capture) -> None:
    assert "sandbox_at_least         one of L1, L2, L3, L4; default L1" in listed(capsys, "recipe")
    assert json.loads(listed(capsys, "schema"))["required"] == ["stages"]


@pytest.mark.parametrize(("words", "expected"), [
    (["stages", "grp"], "there is no stage called 'grp'; did you mean 'grpo'?"),
    (["stages", "nothing.py:Stage"], "stage 'nothing.py:Stage': there is no file"),
    (["stages", "json:loads"], "retort list: 'json:loads' is not a stage"),
    (["rules", "format"], "retort list: KIND and --markdown are for stages"),
    (["--markdown"], "retort list: KIND and --markdown are for stages"),
    (["stages", "grpo", "--markdown"], "retort list: --markdown is of all stages"),
    (["receipe"], "retort list: there is no list of 'receipe'; did you mean 'recipe'?"),
])
def test_what_is_asked_wrongly_is_one_line(words: list[str], expected: str, capsys: Capture) -> None:
    assert cli.main(["list", *words]) == 2
    found = capsys.readouterr()
    assert found.err.startswith(expected)
    assert found.err.count("\n") == 1
    assert found.out == ""


def test_a_field_that_no_recipe_can_hold_is_told(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "odd.py").write_text(
        "from collections.abc import Callable\nfrom pipeline.stage import Stage\n\n"
        "class Odd(Stage):\n    kind = 'odd'\n    makes = 'report'\n    call: Callable[[], int]\n\n"
        "    def run(self, ctx):\n        return {}\n"
    )
    assert cli.main(["list", "stages", f"{tmp_path}/odd.py:Odd"]) == 2
    assert "has a field that no recipe can hold" in capsys.readouterr().err
