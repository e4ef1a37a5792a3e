"""Verdicts by reward functions of other libraries, where what counts as correct is told."""

import math
from collections.abc import Callable
from typing import TypeVar

from rewards.conventions.remote import scoring_of
from rewards.conventions.scoring import Ask, Scoring
from rewards.registry import Entry, RegistryError
from rewards.types import Completion, Label, Problem, Verdict

T = TypeVar("T")

FULL = 1.0
"""What the functions of these libraries give for a right answer, unless a person says otherwise."""


def verifier_of(entry: Entry[T]) -> Callable[[Problem, Completion], Verdict]:
    """A verifier that asks the function of `entry`, a verifier's with a prefix.

    Correct is a score of at least 1.0; "verl:score.py:compute_score(correct=0.5)" says another. Where the function
    itself tells of the accuracy (verl's "acc") that counts, unless `correct` is said. Raises RegistryError.
    """
    threshold = _threshold(entry.arguments.get("correct"), f"{entry.kind} {entry.reference!r}")
    scoring = scoring_of(entry.without("correct"), {})

    def verify(problem: Problem, completion: Completion) -> Verdict:
        return _verdict(scoring, threshold, problem, completion)

    return verify


def _threshold(said: object, who: str) -> float | None:
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        raise RegistryError(f"{who}: correct is the least score that counts as correct, a number, not {said!r}")
    return float(said)


def _verdict(scoring: Scoring, threshold: float | None, problem: Problem, completion: Completion) -> Verdict:
    scoring.require(problem)
    [found] = scoring.score(Ask(problem, [completion]))
    if found.value is None:
        return Verdict(Label.UNGRADABLE, found.answer, "the function does not apply (None)")
    least = FULL if threshold is None else threshold
    correct = found.value >= least if threshold is not None or found.right is None else found.right
    reason = f"score {found.value:g}"
    if correct:
        return Verdict(Label.CORRECT, found.answer, reason)
    # How much of a full score it is, for `partial`; where it is a full one the function itself says otherwise.
    share = max(0.0, found.value / least) if found.value < least and least > 0 else None
    # A function does not say whether there was an answer; where the tokens ended before the text, there was none.
    label = Label.WRONG if completion.finished else Label.NO_ANSWER
    return Verdict(label, found.answer, reason, share=share)
