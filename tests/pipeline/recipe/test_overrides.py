"""Paths of `--set`, which start from the current folder wherever they stand in a reference."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.recipe import overrides, recipe, trust

HERE = ("judge.py", "rows.jsonl")


@pytest.mark.parametrize(("value", "expected"), [
    ("judge.py:f", "{here}/judge.py:f"),
    ("trl:judge.py:f", "trl:{here}/judge.py:f"),
    ("verl:judge.py:f(correct=0.5)", "verl:{here}/judge.py:f(correct=0.5)"),
    ("verifiers:judge.py:f", "verifiers:{here}/judge.py:f"),
    ("['rows.jsonl?verifier=judge.py:f']", "['{here}/rows.jsonl?verifier={here}/judge.py:f']"),
    ("rows.jsonl?prompt=q&verifier=trl:judge.py:f:train",
     "{here}/rows.jsonl?prompt=q&verifier=trl:{here}/judge.py:f:train"),
    ("/rows.jsonl?verifier=judge.py:f", "/rows.jsonl?verifier={here}/judge.py:f"),
    ("~/rows.jsonl?verifier=judge.py:f", "~/rows.jsonl?verifier={here}/judge.py:f"),
    ("own.jsonl?verifier=judge.py:f", "own.jsonl?verifier={here}/judge.py:f"),
    ("rows.jsonl?prompt=judge.py", "{here}/rows.jsonl?prompt=judge.py"),
    ("rows.jsonl?verifier=own.py:f", "{here}/rows.jsonl?verifier=own.py:f"),
    ("trl:own.py:f", "trl:own.py:f"),
    ("trl:my_package.judge:f", "trl:my_package.judge:f"),
    ("other:judge.py:f", "other:judge.py:f"),
    ("gsm8k:train", "gsm8k:train"),
    ("package:judge.py/model.gguf", "package:judge.py/model.gguf"),
])
def test_a_path_is_absolute_behind_a_prefix_and_a_question_mark(tmp_path: Path, value: str, expected: str) -> None:
    for name in HERE:
        (tmp_path / name).touch()
    told = expected.format(here=tmp_path.resolve())
    assert overrides.said_in_full(f"rl.field={value}", tmp_path) == f"rl.field={told}"


def test_a_reward_of_the_current_folder_is_taken_though_the_recipe_has_one_of_its_name(
    write_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe("name: rewarded\nstages:\n  student: {kind: 'tiny.py:Make'}\n  taught:\n"
                        "    {kind: 'tiny.py:Learn', data: 'rows.jsonl'}\n")
    here = tmp_path / "here"
    here.mkdir()
    for folder in (path.parent, here):
        (folder / "judge.py").write_text("def f(completions):\n    return [1.0 for _ in completions]\n")
        (folder / "rows.jsonl").write_text('{"text": "one"}\n')
    trust.remember([path.parent, here])
    monkeypatch.chdir(here)
    read = recipe.read(str(path), ["taught.reward={rules: {'trl:judge.py:f': 1.0}}"])
    assert read.steps["taught"].config.reward.rules == {f"trl:{here.resolve()}/judge.py:f": 1.0}
    assert read.steps["taught"].plug_ins[0].reference == f"trl:{here.resolve()}/judge.py:f"
