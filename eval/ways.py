"""The ways in which a problem set is asked: with each of several efforts, and with each of several thinking budgets."""

from collections.abc import Sequence
from itertools import product

from eval.protocol import Effort

Way = tuple[Effort | None, int | None]
"""An effort and a thinking budget that everything is asked with; None for none."""


def budgets_of(alone: int | None, several: Sequence[int]) -> list[int | None]:
    """The thinking budgets that everything is asked with: freely and then with each of several, or with one alone."""
    return [None, *several] if several else [alone]


def ways(efforts: Sequence[Effort], budgets: Sequence[int | None]) -> list[Way]:
    """Every effort with each of the budgets."""
    asked: list[Effort | None] = [*efforts] or [None]
    return list(product(asked, budgets))


def called(problem_set: str, way: Way, *, compared: bool) -> str:
    """What a set is called in a report that was asked in this way; a budget is told where several are `compared`."""
    effort, budget = way
    told = [problem_set, *([effort] if effort else []), *([f"thinking {budget}"] if compared and budget else [])]
    return " ".join(told)
