"""`retort run`: what is printed of a run, and trackers that cannot be told."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.commands import run as run_command
from pipeline.recipe import fingerprint, header, recipe
from pipeline.recipe.fingerprint import of_recipe
from pipeline.store.store import Store

STAGE = '''
import sys
import warnings
from typing import ClassVar

from pipeline.stage import ArtifactType, Context, Metrics, Stage


class Warns(Stage):
    """Notes, warns, logs and, where it is asked to, fails."""

    kind: ClassVar[str] = "warns"
    makes: ClassVar[ArtifactType] = "report"
    preload: ClassVar[tuple[str, ...]] = ()
    fails: bool = False

    def run(self, ctx: Context) -> Metrics:
        ctx.progress(1, 2, loss=0.5)
        ctx.note("a note")
        print("a line")
        warnings.warn("a warning")
        if self.fails:
            raise ValueError("it failed")
        return {"loss": 0.25}
'''
RECIPE = "name: mine\nreport_to: []\nstages:\n  one: {kind: 'warns.py:Warns'}\n"


@pytest.fixture
def run(write_recipe: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """run("-q") runs a recipe of one stage with these options, and returns the exit code and what was printed."""
    path = write_recipe(RECIPE)
    path.with_name("warns.py").write_text(STAGE)

    def answer(*options: str) -> tuple[int, str, str]:
        code = cli.main(["run", str(path), *options])
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return answer


def test_the_lines_of_logs_are_shown_where_they_are_asked_for(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run("-v")
    assert code == 0
    lines = out.splitlines()
    assert "one  a line" in lines
    assert "one  a note" in lines
    assert any(line.endswith("UserWarning: a warning") for line in lines)
    code, out, _ = run("--set", "seed=1")
    assert "one  a note" in out
    assert "a line" not in out
    assert "a warning" not in out


def test_quiet_runs_print_errors_alone(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("--quiet") == (0, "", "")
    code, out, err = run("-q", "--set", "one.fails=true")
    assert (code, out) == (1, "")
    [line] = err.splitlines()
    assert line.startswith("one  failed: ValueError: it failed; the traceback is in ")
    code, out, err = run("-q", "--json-log")
    assert (code, out) == (2, "")
    assert err.startswith("--quiet shows errors alone: leave it out")
    assert run("-q", "-v")[0] == 2


def test_a_json_log_is_all_of_standard_output(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run("--json-log")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["event"] for row in rows if row["event"] != "note"] == ["started", "progress", "finished", "ended"]
    assert (code, rows[-1]["code"]) == (0, 0)
    code, out, err = run("--json-log", "-v", "--set", "one.fails=true")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, rows[-1]["code"], err) == (1, 1, "")
    assert {"log", "failed"} <= {row["event"] for row in rows}
    assert any(row.get("text") == "a line" for row in rows)


def test_a_run_that_cannot_begin_says_so_in_the_log_too(
    run: Callable[..., tuple[int, str, str]]
) -> None:
    run("-q")
    [stage] = Path("runs/mine").glob("01-*")
    (stage.resolve() / "stage.json").write_text("torn")
    code, out, err = run("--json-log")
    assert (code, json.loads(out.splitlines()[-1])["code"]) == (1, 1)
    assert "--mend" in err


def test_what_hides_the_cursor_begins_when_the_run_does(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    begun: list[object] = []
    monkeypatch.setattr(fingerprint, "of_recipe", interrupted)  # which may take minutes
    monkeypatch.setattr(run_command, "display", lambda *given: begun.append(given))
    assert run()[0] == 130
    assert not begun


def test_a_tracker_that_is_not_installed_is_told_before_any_work(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(header, "find_spec", lambda name: None if name == "wandb" else sys.modules[__name__])
    code, out, err = run("--set", "report_to=[trackio, wandb]")
    assert (code, out) == (2, "")
    assert err == ("--set report_to=[trackio, wandb]: report_to.1: wandb is not installed; pip install 'retort[wandb]' "
                   "brings it\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("[]", "wandb"))
    assert run()[2] == f"{tmp_path}/recipe.yaml:2: report_to: wandb is not installed; pip install 'retort[wandb]' " \
                       "brings it\n"
    code, _, err = run("--set", "report_to=tensorbord")
    assert code == 2
    assert err.endswith("should be 'trackio', 'wandb' or 'tensorboard', not 'tensorbord'; did you mean "
                        "'tensorboard'?\n")
    assert not Path("runs").exists()


def test_trackers_are_no_part_of_what_is_made(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = write_recipe(RECIPE)
    path.with_name("warns.py").write_text(STAGE)
    reads = [recipe.read(str(path), sets) for sets in ([], ["report_to=[wandb, wandb, trackio]"])]
    assert [read.report_to for read in reads] == [(), ("wandb", "trackio")]
    assert {read.run_name for read in reads} == {"mine"}
    first, second = (of_recipe(read, Store(tmp_path).hashes)["one"].digest for read in reads)
    assert first == second
