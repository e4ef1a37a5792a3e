"""The ways in which a problem set is asked: with each of several efforts, freely and with each of several thinking
budgets."""

from collections.abc import Sequence
from itertools import product

from eval.protocol import Effort

Way = tuple[Effort | None, int | None]
"""An effort and a thinking budget that everything is asked with; None for none."""


def ways(efforts: Sequence[Effort], budgets: Sequence[int], alone: int | None = None) -> list[Way]:
    """Every effort, freely first and then with each of the budgets; without these, with the one that stands `alone`."""
    asked: list[Effort | None] = [*efforts] or [None]
    return list(product(asked, [None, *budgets] if budgets else [alone]))


def called(problem_set: str, way: Way, *, compared: bool) -> str:
    """What a set is called in a report that was asked in this way; a budget is told where several are `compared`."""
    effort, budget = way
    told = [problem_set, *([effort] if effort else []), *([f"thinking {budget}"] if compared and budget else [])]
    return " ".join(told)
