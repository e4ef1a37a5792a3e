"""`retort new rule NAME`: what it writes works at once, and it overwrites and hides nothing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.recipe import recipe
from rewards.types import Completion, Label, Problem, Verdict

RECIPE = """\
stages:
  base: {kind: "tiny.py:Make"}
  traces: {kind: "tiny.py:Write", model: base}
  student: {kind: "tiny.py:Learn", data: traces, reward: {rules: {my_rule.py:my_rule: {weight: 0.5, most: 1}}}}
"""


def test_the_test_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new", "rule", "my_rule", "--folder", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "my_rule.py:my_rule: {weight: 0.1, most: 200}" in told
    assert "retort list rules" in told
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_rule.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_a_recipe_uses_the_rule_and_notices_an_edit(write_recipe: Callable[..., Path]) -> None:
    path = write_recipe(RECIPE)
    assert cli.main(["new", "rule", "my_rule", "--folder", str(path.parent)]) == 0
    step = recipe.read(str(path)).steps["student"]
    problem = Problem("", "", "5", "math", "")
    assert step.config.reward.score(problem, Completion("5"), Verdict(Label.CORRECT)).total == 1.5
    rule = path.parent / "my_rule.py"
    rule.write_text(rule.read_text() + "# edited\n")
    (before,) = step.plug_ins
    (after,) = recipe.read(str(path)).steps["student"].plug_ins
    assert before.reference == after.reference == "my_rule.py:my_rule"
    assert before.source_hash != after.source_hash


def test_a_rule_of_that_name_elsewhere_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a checkout, whose own folder is on the search path of what is installed from it."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        assert cli.main(["new", "rule", "other_rule", "--folder", str(tmp_path / folder)]) == 0
        monkeypatch.syspath_prepend(str(tmp_path / folder))


@pytest.mark.parametrize(("name", "expected"), [
    ("my-rule", "retort new: a rule's name is a Python name such as my_rule, not 'my-rule'"),
    ("../x", "retort new: a rule's name is a Python name such as my_rule, not '../x'"),
    ("lambda", "retort new: a rule's name is a Python name such as my_rule, not 'lambda'"),
    ("", "retort new: a rule's name is a Python name such as my_rule, not ''"),
    ("format", "retort new: there is a rule called 'format' already"),
    ("json", "retort new: a file json.py would hide the Python module 'json'"),
    ("numpy", "retort new: a file numpy.py would hide the Python module 'numpy'"),
    ("rewards", "retort new: a file rewards.py would hide the Python module 'rewards'"),
])
def test_a_name_that_will_not_do_is_one_line(
    name: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", "rule", name, "--folder", str(tmp_path)]) == 2
    found = capsys.readouterr().err
    assert found.startswith(expected)
    assert found.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["my_rule.py", "test_my_rule.py"])
def test_nothing_is_overwritten(taken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / taken).write_text("mine")
    assert cli.main(["new", "rule", "my_rule", "--folder", str(tmp_path)]) == 2
    assert f"{taken} exists" in capsys.readouterr().err
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]
