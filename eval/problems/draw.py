"""Taking n problems out of a fixed list, or out of an endless supply; the same ones for the same seed."""

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
PATIENCE = 1_000  # draws in a row that bring nothing new


class HasSkeleton(Protocol):
    @property
    def skeleton(self) -> str: ...


S = TypeVar("S", bound=HasSkeleton)


def draw(items: Sequence[T], n: int | None, seed: int) -> list[T]:
    """All items in their order for n = None, else the first n of a shuffle by `seed` (all of them if there
    are fewer).

    The shuffle does not depend on n, so a draw of 50 is part of the draw of 100 with the same seed.
    """
    if n is None:
        return list(items)
    order = list(range(len(items)))
    # A text as seed: random takes its SHA-512, which is the same in every process, as `hash` is not.
    random.Random(f"draw:{seed}").shuffle(order)
    return [items[i] for i in order[:n]]


def distinct(make: Callable[[], S], n: int) -> list[S]:
    """The first n of different skeletons that `make` gives; fewer where 1,000 draws in a row bring nothing new."""
    drawn: dict[str, S] = {}
    misses = 0
    while len(drawn) < n and misses < PATIENCE:
        one = make()
        misses = misses + 1 if one.skeleton in drawn else 0
        drawn.setdefault(one.skeleton, one)
    return list(drawn.values())
