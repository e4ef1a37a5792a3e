"""A verifier, which tells whether a completion is right. A problem names it, beside its file:

    Problem(.., verifier="my_verifier.py:my_verifier")       in a problem set of your own
    problems: ["mine.jsonl?verifier=my_verifier.py:my_verifier"]     in a recipe, for all rows of a file
"""

from rewards.extract import extract_answer
from rewards.types import Completion, Label, Problem, Verdict

NEAR = 0.01


def my_verifier(problem: Problem, completion: Completion) -> Verdict:
    """CORRECT for a number that is off by at most a hundredth of the problem's answer."""
    found = extract_answer(completion)
    if found.text is None:
        return Verdict(Label.NO_ANSWER, None, found.where)
    try:
        number = float(found.text.replace(",", ""))
    except ValueError:
        return Verdict(Label.WRONG, found.text, "is no number")
    gold = float(problem.answer)
    if abs(number - gold) <= NEAR * abs(gold):
        return Verdict(Label.CORRECT, found.text, "near enough")
    return Verdict(Label.WRONG, found.text, f"is not near {gold}")
