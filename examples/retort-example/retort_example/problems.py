"""The problem set `sorting`: numbers out of order, to be put into order."""

import random

from eval.problems.split import require_split, split_of
from rewards.types import Problem

LARGEST = 20
ALL = {"train": 1_000, "test": 100}
"""How many problems come where nobody says how many: somewhat fewer than there are."""


def sorting(split: str, n: int | None, seed: int) -> list[Problem]:
    """Three numbers up to 20, to be sorted.

    A problem set is called with a split, how many problems are wanted (None for all) and a seed. Equal arguments have
    to give equal problems, and a larger n the same ones and more.
    """
    require_split("sorting", split)
    draws = random.Random(f"sorting:{split}:{seed}")
    problems: dict[str, Problem] = {}
    while len(problems) < (ALL[split] if n is None else n):
        numbers = draws.sample(range(LARGEST + 1), 3)
        # What is asked, without the order it is asked in. It decides the split, so that no test problem is a training
        # problem in another order.
        skeleton = ", ".join(map(str, sorted(numbers)))
        if split_of(skeleton) == split:
            problems.setdefault(skeleton, _problem(numbers, skeleton))
    return list(problems.values())


def _problem(numbers: list[int], skeleton: str) -> Problem:
    asked = ", ".join(map(str, numbers))
    return Problem(
        id=f"sorting-{skeleton.replace(', ', '-')}",
        prompt=f"Sort {asked}.",
        answer=sorted(numbers),
        verifier="number_list",  # by name: whoever asks this problem grades it in the same way
        family="sorting",
        skeleton=skeleton,
        meta={"numbers": numbers},
    )
