"""Multiple choice: the ways a letter is written, and what is none."""

import pytest

from rewards.choice import choose, verify
from rewards.grade import grade
from rewards.types import Completion, Label, Problem

CHOICES = ["10 eV", "A proton", "$\\frac{1}{2}$ of it", "All of them"]


def of(answer, letter="C", tag=True):
    problem = Problem("p", "?", {"letter": letter, "choices": CHOICES}, "choice", "quiz")
    return grade(problem, Completion(f"<think>B or A.</think><answer>{answer}</answer>" if tag else answer))


@pytest.mark.parametrize("answer", [
    "C", "c", " C ", "(C)", "C.", "C)", "[C]", "**C**", "$C$", "\\text{C}", "\\boxed{C}", "\\boxed{\\text{C}}",
    "option C", "Answer: C", "the answer is (C)", "The choice is C.", "C) $\\frac{1}{2}$ of it",
    "Answer: C ($\\frac{1}{2}$ of it).", "(C) 1/2 of what there is", "$\\frac{1}{2}$ of it", "C: half",
    "C. It can't be A or B, which are too small",
])
def test_the_right_choice_in_its_clothes(answer):
    assert of(answer).label == Label.CORRECT


@pytest.mark.parametrize("answer", [
    "B", "(D)", "10 eV", "A proton", "a proton", "A) C", "A or C", "A, C", "C) 10 eV", "none", "E", "ABC",
    "(C) fits. No: (B).", "C. No wait, B.", "C. half or D. 40 eV", "C (10 eV)",
    "C. Or rather option A", "A proton moves", "Certainly", "half of it",
])
def test_what_is_not_the_right_choice(answer):
    assert of(answer).label == Label.WRONG


def test_a_sentence_that_begins_with_a_is_not_the_letter():
    assert of("A proton moves", letter="A").label == Label.WRONG
    assert of("A proton", letter="B").label == Label.CORRECT
    assert of("A", letter="A").extracted == "A"


def test_votes_are_by_letter():
    assert {of(text).extracted for text in ("(C)", "C.", "$\\frac{1}{2}$ of it")} == {"C"}


def test_markers_in_plain_prose_and_no_answer():
    assert of("So it is half. The answer is (C)", tag=False).label == Label.CORRECT
    assert of("", tag=True).label == Label.NO_ANSWER


def test_a_gold_answer_of_another_form_is_not_the_models_fault():
    assert verify(Problem("p", "?", "C", "choice", "quiz"), Completion("C")).label == Label.UNGRADABLE


@pytest.mark.parametrize("letter", ["(C)", " c ", "C.", "[C]", "C)"])
def test_the_letter_of_a_gold_answer_may_be_in_its_clothes(letter):
    assert of("C", letter).label == Label.CORRECT
    assert of("B", letter).reason == "not C"


@pytest.mark.parametrize("letter", ["", " ", "AB", "E", "3", "()", "\u00e4"])
def test_a_letter_that_is_no_choice_is_not_the_models_fault(letter):
    verdict = of("C", letter)
    assert verdict.label == Label.UNGRADABLE
    assert verdict.reason == f"the letter {letter!r} is none of the 4 choices"


@pytest.mark.parametrize(("answer", "letter"), [
    ("5 mW", "A"), ("A) 5 mW", "A"), ("**5 MW**.", "B"), ("B (5 MW)", "B"), ("A) 5 MW", None), ("5 mw", None),
    ("B) 5 mw", "B"), ("$Aa$", "C"), ("AA", "D"), ("D. aa", "D"),
])
def test_choices_that_only_their_capitals_tell_apart(answer, letter):
    assert choose(answer, ["5 mW", "5 MW", "Aa", "AA"])[0] == letter


@pytest.mark.parametrize("answer", [
    "\\boxed{\\text{10 eV}}", "\\boxed{10\\text{ eV}}", "$10\\ \\mathrm{eV}$", "Answer: A, 10 eV", "A - 10 eV",
    "\\(A\\) 10 eV",
    "\\boxed{\\text{A}: 10\\text{ eV}}", "\\(A\\)", "\\[A\\]", "\\boxed{\\(A\\)}",
    "A\n\nIt is what B has twice.", "**A**\n\nB is too low.",
])
def test_a_choice_may_be_in_the_clothes_of_latex_and_before_its_explanation(answer):
    assert of(answer, letter="A", tag=False).label == Label.CORRECT


@pytest.mark.parametrize("answer", [
    "A, a proton", "A - half of it", "A, because", "A\nB", "A\n\nB", "A\n\nB\n\nThat is it.", "A\nB or maybe D",
    "\\text{A proton}",
    "A\n\n$\\frac{1}{2}$ of it", "A\n\nor (B)",
])
def test_a_letter_beside_something_else_names_no_choice(answer):
    assert of(answer, letter="A", tag=False).label == Label.WRONG


def test_texts_that_differ_by_their_marks_alone_are_told_apart():
    assert choose("x_1", ["x1", "x_1"])[0] == "B"
    assert choose("\\text{x1}", ["x1", "x_1"]) == (None, "the text of several choices")
    assert choose("C", ["*", "_", "5"])[0] == "C"
