"""The lenient reading: one answer, the last that is stated, and never one out of the thinking."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.flexible import extract_flexible, flexible
from rewards.grade import grade
from rewards.types import Completion, Label, Problem


def label(gold: str, text: str) -> Label:
    problem, completion = Problem("", "", gold, "math", ""), Completion(text)
    return flexible(problem, completion, grade(problem, completion))


STATED = [
    ("9", "Therefore, x = 9."),
    ("-633", "205 - 838 = -633."),
    ("5", "He had 8 and ate 3. So Tom has 5 apples left."),
    ("18", "The total is $18."),
    ("1000.99", "not it's not 10 it's 1,000.99€"),
    ("9", "Answer $ 9 $"),
    ("9", "It is not 10 but 9."),
    ("9", "The total is 9. It is not 10."),
    ("9", "We need at least 9 coins."),
    ("34", "Final Answer: The largest $n$ is 34."),
    ("[5,\\infty)", "Thus, $x \\geq 5$ is the solution."),
    ("11", "so $x = 5+5+1 = 7 = 11$"),
    ("3", "so he needs **3 boxes** to do it."),
    ("100\\%", "Therefore, the minimum error increases by 100%."),
    ("2/3", "The probability that Alice wins is 2/3"),
    ("9,10", "Therefore, x = 9 or x = 10."),
    ("9,10", "Hence $x=9$ or $x=10$."),
    ("99", "Haley总共有99颗弹珠。"),
    ("5", "So it is \\\\boxed{5}.".replace("\\\\", "\\")),
]


@pytest.mark.parametrize(("gold", "text"), STATED)
def test_the_last_statement_counts(gold: str, text: str) -> None:
    assert label(gold, text) is Label.CORRECT


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("9", "Therefore, x = 9. No, x = 10."),
        ("10", "Therefore, x = 9 or x = 10."),
        ("10", "It is 9 or 10."),
        ("9", "x is 9 at first. In the end it is 10."),
        ("9", "\\boxed{10}, since 9 is too small, which is why it is not 9"),
        ("9", "I don't know."),
        ("9", "So x is not 9."),
        ("9", "The answer cannot be $9$."),
        ("9", "x is 10, which is more than 9."),
        ("9", "<think>x = 9"),
        ("9", "<think>so x = 9.</think>I can't tell."),
        ("9", ""),
    ],
)
def test_nothing_else_does(gold: str, text: str) -> None:
    assert label(gold, text) is not Label.CORRECT


def test_what_is_strictly_right_stays_right_and_what_cannot_be_graded_stays_so() -> None:
    assert label("9", "\\boxed{9}") is Label.CORRECT
    assert label("\\frac{1}{", "x = 9") is Label.UNGRADABLE
    assert label("9", "<answer>So the answer must be 9, clearly.</answer>") is Label.CORRECT


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("I think the best choice would be (C).", True), ("So C fits best.", True), ("It is B, not C.", False),
        ("(B) fits. No: (C).", True), ("No, so it is D.", False), ("A dog barks.", False),
        ("A or C", False), ("A/C", False), ("Both A and C fit.", False), ("\\boxed{A}\\boxed{C}", False),
        ("A and then there is (C).", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("letter", ["C", "(C)", " c"])
def test_letters(text: str, right: bool, letter: str) -> None:
    answer = {"letter": letter, "choices": ["one", "two", "three", "four"]}
    problem, completion = Problem("", "", answer, "choice", ""), Completion(text)
    assert (flexible(problem, completion, grade(problem, completion)) is Label.CORRECT) == right


@settings(max_examples=40)
@given(st.text(alphabet="$=x9 or.\\n*()[]\\\\is,%", max_size=200))
def test_any_mess_is_answered(text: str) -> None:
    assert label("9", text) in Label
    assert extract_flexible(Completion("<think>" + text.replace("</think>", ""))).text is None


def test_long_texts_take_no_long_time() -> None:
    for piece in ("$", "x = ", "9 or ", "**", "\\(", "is ", "9.9", "(a)", "\n"):
        extract_flexible(Completion(piece * 10_000))
