"""The verifier `number_list`: whether an answer has the right numbers in the right order."""

import re

from rewards.extract import extract_answer
from rewards.types import Completion, Label, Problem, Verdict


def number_list(problem: Problem, completion: Completion) -> Verdict:
    """CORRECT where the answer has the numbers of the problem's own, in that order, whatever stands between them."""
    found = extract_answer(completion)  # what stands after the thinking, in tags, a box or as a short remainder
    if found.text is None:
        return Verdict(Label.NO_ANSWER, None, found.where)
    numbers = [int(number) for number in re.findall(r"[0-9]+", found.text)]
    if not numbers:
        return Verdict(Label.NO_ANSWER, None, "the answer has no number")
    if numbers == problem.answer:
        return Verdict(Label.CORRECT, found.text, "the same numbers in the same order")
    same = sorted(numbers) == sorted(problem.answer)
    return Verdict(Label.WRONG, found.text, "the order is another" if same else "the numbers are others")
