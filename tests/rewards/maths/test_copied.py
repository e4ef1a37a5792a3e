"""The question's own expression is no answer; every other expression of the right value is one."""

from collections.abc import Callable
from typing import Any

import pytest

from rewards.flexible import flexible
from rewards.grade import grade
from rewards.types import Completion, Label, Problem

Rows = Callable[[str], list[dict[str, Any]]]


def verdicts(prompt: str, gold: str, answer: str) -> tuple[Label, Label]:
    problem, completion = Problem("", prompt, gold, "math", ""), Completion(f"\\boxed{{{answer}}}")
    verdict = grade(problem, completion)
    return verdict.label, flexible(problem, completion, verdict)


COPIED = [
    ("Compute $99^2+99+1$ in your head.", "9901", "99^2+99+1"),
    ("Compute $99^2+99+1$ in your head.", "9901", "99^{2} + 99 + 1"),
    ("Compute $99^2+99+1$ in your head.", "9901", "x = 99^2+99+1"),
    ("$441+2(21)(19)+361=x$. Solve for $x$.", "1600", "441+2(21)(19)+361"),
    ("Factor $ab+5b+2a+10$.", "(a+5)(b+2)", "ab+5b+2a+10"),
    ("Simplify \\[\\frac{-3+4i}{1+2i}.\\]", "1+2i", "\\dfrac{-3+4i}{1+2i}"),
    ("What is \\(\\sin 30^\\circ\\)?", "\\frac12", "\\sin 30^\\circ"),
    ("Compute $\\dbinom{31}{28}$.", "4495", "\\binom{31}{28}"),
    ("What is 123 * 45?", "5535", "123*45"),
    ("What is 12 × 34 - 7?", "401", "12 \\cdot 34 - 7"),
    ("12*34 = ?", "408", "12*34"),
]


@pytest.mark.parametrize(("prompt", "gold", "answer"), COPIED)
def test_the_questions_own_expression_is_no_answer(prompt: str, gold: str, answer: str) -> None:
    assert verdicts(prompt, gold, answer) == (Label.WRONG, Label.WRONG)
    assert verdicts("What is it?", gold, answer)[0] is Label.CORRECT
    assert verdicts(prompt, gold, gold)[0] is Label.CORRECT


@pytest.mark.parametrize(
    ("prompt", "gold", "answer"),
    [
        # As short as the gold answer: another way to write it.
        ("He ate $3/4$ of it. How much is that?", "\\frac{3}{4}", "3/4"),
        ("Is $1+x$ more than $x$? Which is more?", "x+1", "1+x"),
        ("Which is larger, $2^{10}$ or $3^5$?", "2^{10}", "2^{10}"),
        # Numbers that are only written down.
        ("He ate 3/4 of it. How much is that?", "0.75", "3/4"),
        ("She has $1\\frac{1}{2}$ cups.", "1.5", "1\\frac{1}{2}"),
        ("Light travels $3 \\times 10^8$ metres in a second.", "300000000", "3\\times 10^8"),
        ("The $12^{\\mathrm{th}}$ row is the last. How many are there?", "12", "12^{\\mathrm{th}}"),
        # Units have no operations.
        ("A car goes 60 miles/hour. How fast is it?", "60", "60\\text{ miles/hour}"),
        # A part of what stands there is not the question's expression.
        ("What is $5 + 2 \\cdot 3 - 5$?", "6", "2 \\cdot 3"),
        ("What is 5 + 2 * 3 - 5?", "6", "2*3"),
        ("What is 12*34?", "8", "2*4"),
        # What is no scalar is not looked at.
        ("Order $(2+1, 4)$ by size.", "(3, 4)", "(2+1, 4)"),
        ("Solve $y = 2x + 1 + 1$ for y.", "y = 2x + 2", "y = 2x + 1 + 1 + 0"),
    ],
)
def test_what_is_right_stays_right(prompt: str, gold: str, answer: str) -> None:
    assert verdicts(prompt, gold, answer)[0] is Label.CORRECT


def test_no_gold_answer_of_the_data_sets_is_taken_for_a_copy(rows: Rows) -> None:
    for row in rows("math500_test.jsonl"):
        problem = Problem("", row["problem"], row["answer"], "math", "")
        assert grade(problem, Completion(f"\\boxed{{{row['answer']}}}")).correct, row["answer"]
        assert grade(problem, Completion(row["solution"])).correct, row["answer"]
    for row in rows("gsm8k_test.jsonl"):
        assert grade(Problem("", row["question"], row["answer"], "math", ""), Completion(row["answer"])).correct
