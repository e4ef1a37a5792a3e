"""What is put after a question, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.instructions import DEFAULTS, with_instruction
from eval.prompts import question_text
from eval.protocol import Prompting
from rewards.grade import VERIFIERS, grade
from rewards.types import Completion, Label, Problem


def problem(prompt: str, verifier: str = "math", answer: object = "2") -> Problem:
    return Problem("p", prompt, answer, verifier, "sums")


def test_every_built_in_verifier_that_reads_a_text_has_a_default() -> None:
    assert set(DEFAULTS) == {"math", "code", "countdown", "choice", "gym"}
    assert all(VERIFIERS.resolve(name).origin == "built-in" for name in DEFAULTS)


@pytest.mark.parametrize(("verifier", "answer", "obeying"), [
    ("math", "2", "So it is \\boxed{2}."),
    ("choice", {"letter": "B", "choices": ["1", "2"]}, "Well.\nAnswer: B"),
    ("countdown", {"numbers": [1, 2, 3], "target": 9}, "<answer>(1 + 2) * 3</answer>"),
])
def test_who_does_as_told_is_read(verifier: str, answer: object, obeying: str) -> None:
    assert grade(problem("?", verifier, answer), Completion(obeying)).label is Label.CORRECT


@given(st.text(max_size=30), st.sampled_from(["Be brief.", "Q: {question}", "{question} Be brief.", "A {question} B"]))
def test_an_instruction_is_put_once(asked: str, instruction: str) -> None:
    once = with_instruction(asked, instruction)
    assert with_instruction(once, instruction) == once
    assert asked.rstrip() in once


def test_a_question_may_hold_the_place_of_a_question() -> None:
    assert with_instruction("What is {question}?", "Q: {question} A:") == "Q: What is {question}? A:"
    assert with_instruction("\\boxed{}", "Use {braces}.") == "\\boxed{}\n\nUse {braces}."


@pytest.mark.parametrize(("asked", "how", "expected"), [
    (problem("1 + 1?"), Prompting(), f"1 + 1?\n\n{DEFAULTS['math']}"),
    (problem("1 + 1?\n\n"), Prompting(), f"1 + 1?\n\n{DEFAULTS['math']}"),
    (problem("1 + 1? Answer in \\boxed{}."), Prompting(), "1 + 1? Answer in \\boxed{}."),
    (problem("1 + 1?", "my.py:verify"), Prompting(), "1 + 1?"),
    (problem("1 + 1?"), Prompting(instruction=None), "1 + 1?"),
    (problem("1 + 1?"), Prompting(instruction="Say it."), "1 + 1?\n\nSay it."),
    (problem("1 + 1?"), Prompting("r1"), "1 + 1?"),
    (problem("1 + 1?"), Prompting("qa", instruction="Say it."), "1 + 1?\n\nSay it."),
    (problem("1 + 1?"), Prompting(shots=(("2 + 2?", "4"),)), "1 + 1?"),
    ("1 + 1?", Prompting(), "1 + 1?"),
])
def test_what_a_question_says(asked: str | Problem, how: Prompting, expected: str) -> None:
    assert question_text(asked, how) == expected
