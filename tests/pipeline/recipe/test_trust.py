"""A folder of runs from anyone can be looked at: nothing in it is run, and nothing outside it is touched."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.recipe import trust
from rewards import plugin_files

Write = Callable[..., Path]
EVIL = "from pathlib import Path\nPath({mark!r}).touch()\n"
RECIPE = """
stages:
  base: {kind: 'tiny.py:Make'}
  learn: {kind: 'tiny.py:Learn', data: rows.jsonl, reward: {rules: {'rules.py:r': 1.0}}, problems: 'sets.py:s:test'}
"""


@pytest.fixture(autouse=True)
def _nothing_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def mailed(write_recipe: Write, tmp_path: Path) -> Path:
    """A recipe and its run in a folder whose plug-ins leave a mark when they are run; nothing in it is trusted."""
    path = write_recipe(RECIPE)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "rules.py").write_text("def r(problem, completion):\n    return 1.0\n")
    (tmp_path / "sets.py").write_text("def s(split, n, seed):\n    return []\n")
    assert cli.main(["run", str(path)]) == 0
    shutil.rmtree(tmp_path / "state")
    for name in ("tiny.py", "rules.py", "sets.py"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(EVIL.format(mark=str(tmp_path / "was run")) + text)
    return path


@pytest.mark.parametrize("command", [
    ["status", "recipe"], ["clean"], ["clean", "--delete"], ["verify", "recipe"], ["report", "recipe"],
    ["plan", "recipe.yaml"], ["compare", "runs/recipe:base", "runs/recipe:learn"],
])
def test_looking_runs_nothing(mailed: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    made = len(list(Path("runs/recipe").glob("0*")))
    capsys.readouterr()
    cli.main(command)
    said = capsys.readouterr()
    assert not mailed.with_name("was run").exists()
    assert "Traceback" not in said.err
    assert len([link for link in Path("runs/recipe").glob("0*") if link.exists()]) == made
    if command[0] in ("plan", "status"):
        assert "tiny.py is code that no run of yours has used; read it, then `retort plan --trust`" in said.err


def test_who_runs_a_recipe_trusts_its_folder(mailed: Path) -> None:
    assert cli.main(["plan", str(mailed)]) == 2
    assert cli.main(["plan", str(mailed), "--trust"]) == 0
    assert mailed.with_name("was run").exists()
    assert cli.main(["plan", str(mailed)]) == 0
    assert trust.is_trusted(mailed.with_name("tiny.py"))
    assert not trust.is_trusted(mailed.parent.parent / "tiny.py")


def test_a_recipe_of_what_is_built_in_needs_no_trust(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "smoke"]) == 0
    assert "would run" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "3", '[3, "/"'])
def test_a_torn_list_trusts_nothing(tmp_path: Path, text: str) -> None:
    place = tmp_path / "state" / "retort" / "trusted.json"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    assert not trust.is_trusted(tmp_path / "x.py")
    trust.remember([tmp_path])
    assert json.loads(place.read_text()) == [str(tmp_path)]


def test_a_home_that_cannot_be_written_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    trust.remember([tmp_path])
    assert not trust.is_trusted(tmp_path / "x.py")


def test_gates_are_taken_down(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("N = 1\n")
    with plugin_files.running_only(lambda _: False), pytest.raises(plugin_files.UntrustedError):
        plugin_files.load(tmp_path / "x.py")
    assert plugin_files.load(tmp_path / "x.py").N == 1
