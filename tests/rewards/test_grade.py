"""One grader: the problem's own verifier, and a verdict whatever happens."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rewards.grade import grade, grade_many
from rewards.registry import RegistryError
from rewards.types import Completion, Label, Problem

ROOT = Path(__file__).parents[2]
FIVE = Problem("1", "2+3?", "5", "math", "sums")


@pytest.mark.parametrize(
    ("completion", "label"),
    [
        (Completion("<think>a</think><answer>5</answer>"), Label.CORRECT),
        (Completion("<think>a</think><answer>6</answer>"), Label.WRONG),
        (Completion("<think>5 it is"), Label.NO_ANSWER),
        (Completion("<think>5 it is", finished=False), Label.TRUNCATED),
        (Completion("<think>a</think><answer>5", finished=False), Label.TRUNCATED),
        (Completion("<think>a</think><answer>5</answer> and", finished=False), Label.CORRECT),
        (Completion(""), Label.NO_ANSWER),
    ],
)
def test_labels(completion: Completion, label: Label) -> None:
    verdict = grade(FIVE, completion)
    assert verdict.label is label
    assert verdict.seconds > 0
    assert verdict.reason


def test_an_unknown_verifier_is_an_error_before_any_work() -> None:
    with pytest.raises(RegistryError, match="did you mean 'math'"):
        grade_many([(FIVE, Completion("5")), (Problem("2", "", "5", "maths", ""), Completion("5"))])


@pytest.mark.parametrize(("body", "said"), [("1 / 0", "ZeroDivisionError"), ("exit(4)", "SystemExit: 4")])
def test_a_verifier_that_fails_is_ungradable(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(f"def odd(problem, completion):\n    return {body}\n")
    verdict = grade(Problem("1", "", "", f"{tmp_path}/mine.py:odd", ""), Completion("5"))
    assert verdict.label is Label.UNGRADABLE
    assert said in verdict.reason


@pytest.mark.parametrize(("given", "label", "said"), [
    ("'correct', '5'", Label.CORRECT, ""),
    ("'no_answer'", Label.NO_ANSWER, ""),
    ("'CORRECT', '5'", Label.UNGRADABLE, "'CORRECT' is not a valid Label"),
    ("True, '5'", Label.UNGRADABLE, "True is not a valid Label"),
    ("Label.CORRECT, 42", Label.UNGRADABLE, "'extracted' of its Verdict is 42, which is no text"),
    ("Label.WRONG, '5', ValueError('far')", Label.UNGRADABLE, "'reason' of its Verdict is ValueError('far')"),
    ("Label.WRONG, '5', share=float('nan')", Label.UNGRADABLE, "'share' of its Verdict is nan"),
    ("Label.WRONG, '5', share=7", Label.UNGRADABLE, "'share' of its Verdict is 7, which is no number in [0, 1]"),
    ("Label.WRONG, '5', share='0.5'", Label.UNGRADABLE, "'share' of its Verdict is '0.5'"),
])
def test_each_part_of_a_plug_ins_verdict_is_what_it_has_to_be(
        tmp_path: Path, given: str, label: Label, said: str) -> None:
    (tmp_path / "mine.py").write_text(
        f"from rewards.types import Label, Verdict\ndef odd(problem, completion):\n    return Verdict({given})\n")
    verdict = grade(Problem("1", "", "", f"{tmp_path}/mine.py:odd", ""), Completion("5"))
    assert verdict.label is label
    assert said in verdict.reason
    assert verdict.correct == (label is Label.CORRECT)


def test_a_share_is_a_plain_float(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from fractions import Fraction\nfrom rewards.types import Label, Verdict\n"
        "def odd(problem, completion):\n    return Verdict(Label.WRONG, share=Fraction(1, 2))\n")
    verdict = grade(Problem("1", "", "", f"{tmp_path}/mine.py:odd", ""), Completion("5"))
    assert (type(verdict.share), verdict.share) == (float, 0.5)


@pytest.mark.parametrize("gold", [None, [], ["3"], {"a": 1}])
@pytest.mark.parametrize("said", ["None", "<answer>None</answer>", "\\boxed{None}", "['3']", "[]", "\\boxed{}"])
def test_no_text_equals_what_is_no_answer(gold: Any, said: str) -> None:
    for verifier in ("math", "choice"):
        assert not grade(Problem("1", "", gold, verifier, ""), Completion(said)).correct


def test_importing_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "trl", "datasets", "sympy", "pydantic", "numpy"]
    code = (
        f"import rewards, rewards.grade, rewards.rules, rewards.math, rewards.code, sys; print([m for m in {heavy} "
        f"if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_verdict_can_be_kept_in_a_file_whatever_a_program_raised() -> None:
    problem = Problem("1", "", {"entry": "f", "tests": [{"input": [1], "expected": 1}]}, "code", "")
    verdict = grade(problem, Completion("def f(x):\n    raise ValueError(chr(0xd800))"))
    assert verdict.label is Label.WRONG
    assert "ValueError: ?" in verdict.reason
    assert verdict.reason.encode()
    assert (grade(FIVE, Completion("\\boxed{\ud800}")).extracted or "").encode() == b"?"
