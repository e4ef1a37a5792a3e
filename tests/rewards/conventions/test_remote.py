"""Functions run in the main thread of a process of their own: timeouts work, and what ends there is no end here."""

import functools
import threading
from pathlib import Path

import pytest

from rewards.conventions import remote
from rewards.grade import VERIFIERS, grade
from rewards.rubric import Rubric, RubricError
from rewards.types import Completion, Label, Problem
from tests.rewards.conventions.groups import problem, rubric_of, totals, written


@pytest.fixture
def rubric(tmp_path: Path) -> functools.partial[Rubric]:
    return functools.partial(rubric_of, tmp_path)


SOURCE = """
import os, signal, sys, time
def alarmed(solution_str, ground_truth):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(0.05)
    return 1.0
def verified(solution_str, ground_truth):
    from math_verify import parse, verify
    return float(verify(parse(ground_truth), parse(solution_str)))
def loud(solution_str, ground_truth):
    print("no frame", flush=True)
    sys.stdin.read()
    return 1.0
def exits(solution_str, ground_truth): sys.exit(3)
def crashes(solution_str, ground_truth): os._exit(1)
def hangs(solution_str, ground_truth): time.sleep(60)
def surrogate(solution_str, ground_truth): return {"score": 1.0, "pred": "\\ud800"}
"""


@pytest.mark.parametrize("name", ["alarmed", "verified", "loud", "surrogate"])
def test_from_any_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    monkeypatch.setattr(VERIFIERS, "folder", tmp_path)
    found = []
    asked = Problem("p", "?", "5", f"verl:mine.py:{name}", "f")
    thread = threading.Thread(target=lambda: found.append(grade(asked, Completion("5"))))
    thread.start()
    thread.join()
    assert [verdict.label for verdict in found] == [Label.CORRECT], found


@pytest.mark.parametrize(("name", "said"), [
    ("exits", "failed: SystemExit: 3"), ("crashes", "ended its process"), ("hangs", "did not answer within 0.2 s"),
])
def test_what_ends_costs_itself_alone(
    rubric: functools.partial[Rubric], monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    made = rubric(SOURCE, f"verl:mine.py:{name}")
    assert totals(rubric(SOURCE, "verl:mine.py:loud"), problem(), written("5")) == [1.0]  # its process is there
    if name == "hangs":
        monkeypatch.setattr(remote, "SECONDS", 0.2)
    with pytest.raises(RubricError, match=f"'verl:mine.py:{name}', for .*{said}"):
        totals(made, problem(), written("5"))
    monkeypatch.undo()
    assert totals(rubric(SOURCE, "verl:mine.py:loud"), problem(), written("5")) == [1.0]


def test_a_file_that_is_edited_meanwhile(rubric: functools.partial[Rubric], tmp_path: Path) -> None:
    made = rubric("def f(solution_str, ground_truth): return 1.0", "verl:mine.py:f")
    (tmp_path / "mine.py").write_text("def f(solution_str, ground_truth): return 2.0")
    with pytest.raises(RubricError, match="was edited since the run began"):
        totals(made, problem(), written("5"))
    (tmp_path / "mine.py").write_text("def f(solution_str, ground_truth): return 1.0")
    assert totals(made, problem(), written("5")) == [1.0]
    (tmp_path / "mine.py").write_text("def f(solution_str, ground_truth): return 2.0")
    assert totals(made, problem(), written("5")) == [1.0]  # what is in use stays


def test_what_cannot_be_sent(rubric: functools.partial[Rubric]) -> None:
    made = rubric("def f(solution_str, ground_truth): return 1.0", "verl:mine.py:f")
    with pytest.raises(RubricError, match="what the problem holds cannot be sent to it"):
        totals(made, problem(lambda: None), written("5"))
