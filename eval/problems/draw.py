"""Taking n problems out of a fixed list, the same ones for the same seed."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def draw(items: Sequence[T], n: int | None, seed: int) -> list[T]:
    """All items in their order for n = None, else the first n of a shuffle by `seed` (all of them if there
    are fewer).

    The shuffle does not depend on n, so a draw of 50 is part of the draw of 100 with the same seed.
    """
    if n is None:
        return list(items)
    order = list(range(len(items)))
    random.Random(f"draw:{seed}").shuffle(order)
    return [items[i] for i in order[:n]]
