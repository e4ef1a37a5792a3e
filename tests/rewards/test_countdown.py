"""The countdown verifier: exact, by the rules of the game, and never fooled by Python."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.countdown import NotAnExpression, evaluate, verify
from rewards.grade import grade
from rewards.types import Completion, Label, Problem

GAME = Problem("c", "", {"numbers": [3, 7, 25, 7], "target": 46}, "countdown", "countdown")


def verdict(answer, problem=GAME):
    return verify(problem, Completion(f"<think>hm</think><answer>{answer}</answer>"))


@pytest.mark.parametrize(
    "answer",
    [
        "25 + 7 * 3", "(25+7*3)", "7*3+25", "25 + 7 * 3 = 46", "46 = 25 + 7 * 3", "$25 + 7 \\times 3$",
        "\\boxed{25 + 3 \\cdot 7}", "25 + 7 \u00d7 3.", "[25 + (7 * 3)]", "-(-25 - 7*3)", "25 - -7*3",
    ],
)
def test_right_answers(answer):
    assert verdict(answer).label is Label.CORRECT


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("25 + 7 * 7", "it equals 74, not 46"),
        ("46", "46 is not given"),
        ("25 + 7 + 7 + 7", "7 is used more often than given"),
        ("25 + 21", "21 is not given"),
        ("25 + 7 * 3 = 47", "the equation does not hold: its left side is 46"),
        ("25 / (7 - 7)", "it divides by zero"),
        ("25 + (7 * 3", "')' is missing"),
        ("25 + 7 3", "unexpected '3'"),
        ("25 +", "the expression ends too early"),
        ("1 = 1 = 1", "more than one equals sign"),
        ("3 ** 7", "unexpected '*'"),
        ("7 // 3", "unexpected '/'"),
        ("__import__('os').system('true')", "does not belong in an expression"),
        ("25 + 7 * 3.0", "does not belong in an expression"),
        ("2e5", "does not belong in an expression"),
        ("(" * 60 + "3" + ")" * 60, "nested more than 40 deep"),
        ("3+" * 300 + "3", "more than 400 characters"),
        ("a number", "does not belong in an expression"),
    ],
)
def test_wrong_answers_say_why(answer, reason):
    found = verdict(answer)
    assert found.label is Label.WRONG
    assert reason in found.reason


def test_fractions_are_exact():
    thirds = Problem("c", "", {"numbers": [8, 3, 8, 3], "target": 24}, "countdown", "countdown")
    assert verdict("8 / (3 - 8 / 3)", thirds).correct
    assert verdict("\\frac{8}{3 - \\frac{8}{3}}", thirds).correct
    huge = Problem("c", "", {"numbers": [10**17, 1, 10**17], "target": 1}, "countdown", "countdown")
    assert verdict(f"{10**17} + 1 - {10**17}", huge).correct, "floats would lose the 1"


def test_no_answer_is_not_a_wrong_answer():
    assert verify(GAME, Completion("I cannot find one.")).label is Label.NO_ANSWER
    assert verify(GAME, Completion("<think>25 + 7 * 3")).label is Label.NO_ANSWER
    assert verify(GAME, Completion("25 + 7 * 3")).label is Label.CORRECT, "a bare expression is an answer"
    assert grade(GAME, Completion("<think>25 + 7 * 3", finished=False)).label is Label.TRUNCATED


@pytest.mark.parametrize(
    "answer",
    [None, "46", {"numbers": [3]}, {"numbers": [], "target": 3}, {"numbers": "3", "target": 3},
     {"numbers": [3.5], "target": 3}],
)
def test_a_broken_problem_is_ungradable(answer):
    assert verdict("3", Problem("c", "", answer, "countdown", "countdown")).label is Label.UNGRADABLE


TREES = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=8,
)


@given(TREES)
def test_it_computes_what_python_computes(text):
    assert evaluate(text)[0] == Fraction(eval(text))  # the text is made of digits, brackets and signs above


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    found = verdict(text.replace("<", ""))
    assert "\n" not in found.reason
    assert found.label is not Label.UNGRADABLE
    with contextlib.suppress(NotAnExpression):
        assert evaluate(text)[1], "a value without a number"
