"""Verdicts by reward functions of other libraries, with what counts as correct."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rewards.grade import VERIFIERS, grade, own_verifiers
from rewards.registry import RegistryError
from rewards.rows import Graded, RowError, grade_line
from rewards.types import Completion, Label, Problem, Verdict

SOURCE = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, full=1.0):
    return full if ground_truth in solution_str else -full
def dapo(solution_str, ground_truth):
    right = ground_truth in solution_str
    return {"score": 1.0 if right else -1.0, "acc": right, "pred": solution_str.split()[-1]}
def stern(solution_str, ground_truth):
    return {"score": 1.0, "acc": False}
def share(solution_str, ground_truth): return solution_str.count("5") / 4
def accuracy(completions, answer, **kwargs):
    return [None if a == "?" else float(a in c) for c, a in zip(completions, answer)]
def broken(completions): return 1 / 0
def exact(completion, answer): return float(completion[-1]["content"] == answer)
def level(completions, level): return [1.0]
"""


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Verdict]:
    (tmp_path / "mine.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)

    def judge(verifier: str, text: str, answer: str = "5", *, finished: bool = True) -> Verdict:
        return grade(Problem("p", "?", answer, verifier, "f"), Completion(text, finished))

    return judge


@pytest.mark.parametrize(("verifier", "text", "label", "share"), [
    ("verl:mine.py:compute_score", "is 5", Label.CORRECT, None),
    ("verl:mine.py:compute_score", "is 4", Label.WRONG, 0.0),
    ("verl:mine.py:compute_score(full=10)", "is 5", Label.CORRECT, None),
    ("verl:mine.py:compute_score(full=0.5)", "is 5", Label.WRONG, 0.5),
    ("verl:mine.py:compute_score(full=0.5, correct=0.5)", "is 5", Label.CORRECT, None),
    ("verl:mine.py:compute_score(correct=0)", "is 4", Label.WRONG, None),
    ("verl:mine.py:dapo", "is 5", Label.CORRECT, None), ("verl:mine.py:dapo", "is 4", Label.WRONG, 0.0),
    ("verl:mine.py:stern", "is 5", Label.WRONG, None), ("verl:mine.py:stern(correct=1)", "is 5", Label.CORRECT, None),
    ("verl:mine.py:share", "5 5", Label.WRONG, 0.5), ("verl:mine.py:share(correct=0.5)", "5 5", Label.CORRECT, None),
    ("trl:mine.py:accuracy", "is 5", Label.CORRECT, None), ("trl:mine.py:accuracy", "is 4", Label.WRONG, 0.0),
    ("verifiers:mine.py:exact", "5", Label.CORRECT, None), ("verifiers:mine.py:exact", "is 5", Label.WRONG, 0.0),
])
def test_verdicts(
    judged: Callable[..., Verdict], verifier: str, text: str, label: Label, share: float | None
) -> None:
    verdict = judged(verifier, text)
    assert (verdict.label, verdict.share) == (label, share)


def test_what_it_read_is_told(judged: Callable[..., Verdict]) -> None:
    verdict = judged("verl:mine.py:dapo", "is 4")
    assert (verdict.extracted, verdict.reason) == ("4", "score -1")


def test_what_says_nothing_is_ungradable(judged: Callable[..., Verdict]) -> None:
    assert judged("trl:mine.py:accuracy", "5", "?").label is Label.UNGRADABLE
    broken = judged("trl:mine.py:broken", "5")
    assert broken.label is Label.UNGRADABLE
    assert "ZeroDivisionError" in broken.reason
    missing = judged("trl:mine.py:level", "5")
    assert missing.label is Label.UNGRADABLE
    assert "needs the column 'level'" in missing.reason


def test_text_that_was_cut_off(judged: Callable[..., Verdict]) -> None:
    assert judged("verl:mine.py:dapo", "is 4", finished=False).label is Label.TRUNCATED
    assert judged("verl:mine.py:dapo", "is 5", finished=False).label is Label.CORRECT


@pytest.mark.parametrize(("verifier", "said"), [
    ("verl:mine.py:accuracy", "write trl:mine.py:accuracy"), ("verl:mine.py:gone", "no 'gone' in"),
    ("verl:mine.py:dapo(correct=much)", "correct is the least score"),
    ("verl:mine.py:dapo(right=1)", "no option 'right'"),
    ("verl:mine.py:dapo(correct=true)", "correct is the least score"), ("vrl:mine.py:dapo", "no prefix 'vrl'"),
])
@pytest.mark.usefixtures("judged")
def test_what_is_wrong_is_known_before_anything_is_graded(verifier: str, said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        own_verifiers([verifier])


@pytest.mark.usefixtures("judged")
def test_its_source_is_in_the_hash(tmp_path: Path) -> None:
    reference = "verl:mine.py:dapo(correct=1)"
    before = own_verifiers([reference, "math"])
    assert set(before) == {reference}
    (tmp_path / "mine.py").write_text(SOURCE + "# edited\n")
    assert own_verifiers([reference]) != before
    assert VERIFIERS.resolve(reference).file == tmp_path / "mine.py"


@pytest.mark.usefixtures("judged")
def test_rows_of_retort_grade() -> None:
    def graded(verifier: str, **row: object) -> Graded | RowError | None:
        return grade_line(json.dumps({"verifier": verifier, "completion": "is 5", **row}).encode())

    for row in ({"answer": "5"}, {"reward_model": {"style": "rule", "ground_truth": "5"}, "data_source": "d"}):
        found = graded("verl:mine.py:dapo", **row)
        assert isinstance(found, Graded)
        assert found.verdict == "correct"
    found = graded("trl:mine.py:level", answer="5", level=3, prompt=[{"role": "user", "content": "?"}])
    assert isinstance(found, Graded)
    assert found.verdict == "correct"
    for verifier, said in (("verl:mine.py:accuracy", "write trl:"), ("verl:gone.py:f", "there is no file")):
        found = graded(verifier, answer="5")
        assert isinstance(found, RowError)
        assert said in str(found)
