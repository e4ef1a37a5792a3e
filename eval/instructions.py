"""How a problem is to be answered: the instruction that is put after a question."""

from collections.abc import Mapping, Sequence

AUTO = "auto"
"""In place of an instruction: the default of the problem's verifier."""

QUESTION = "{question}"
"""Where this stands in an instruction, the question is put; else the instruction follows it."""

DEFAULTS: Mapping[str, str] = {
    # What DeepSeek-R1's and Qwen's model cards recommend.
    "math": "Please reason step by step, and put your final answer within \\boxed{}.",
    "code": "Give the whole solution in Python, in a single block that begins with ```python and ends with ```.",
    # After the prompt of OpenAI's simple-evals.
    "choice": "End with a line of the form 'Answer: X', where X is the letter of the right choice.",
    "countdown": "Give the final expression between <answer> and </answer>, such as <answer>(1 + 2) * 3</answer>.",
    "gym": "Give the final answer between <answer> and </answer>.",
}
"""For each built-in verifier, what its answers are recognized by. A verifier of one's own has none."""


SAID: Mapping[str, Sequence[str]] = {
    "math": ("\\boxed", "####"), "code": ("fenced block",), "countdown": ("<answer>",),
    "gym": ("<answer>",),
}
"""What stands in a question that says itself how to answer; the default is not put after it."""


def default_for(question: str, verifier: str) -> str | None:
    """The default instruction for this question; None where there is none, or where the question has one."""
    return None if any(mark in question for mark in SAID.get(verifier, ())) else DEFAULTS.get(verifier)


def with_instruction(question: str, instruction: str | None) -> str:
    """The question with an instruction put after it, or around it where it holds `{question}`.

    A question that has it already, as rows of `sample` do, does not get it twice.
    """
    if not instruction:
        return question
    before, held, after = instruction.partition(QUESTION)
    if not held:
        return question if question.endswith(instruction) else f"{question.rstrip()}\n\n{instruction}"
    return question if question.startswith(before) and question.endswith(after) else before + question + after
