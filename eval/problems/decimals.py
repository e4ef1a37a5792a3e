"""Which of two decimals is larger, such as 3.9 or 3.11: what models that read versions get wrong."""

import random
from dataclasses import dataclass

from eval.problems.draw import distinct
from eval.problems.split import require_split, split_of
from rewards.types import Problem

LARGEST_WHOLE = 20


@dataclass(frozen=True)
class Pair:
    """Two decimals with one whole part, in the order asked, and whether the larger is wanted."""

    whole: int
    parts: tuple[str, str]
    larger: bool

    @property
    def skeleton(self) -> str:
        return " ".join(sorted(self.written))

    @property
    def written(self) -> list[str]:
        return [f"{self.whole}.{part}" for part in self.parts]

    @property
    def answer(self) -> str:
        # Filled up to one length, the texts compare as the numbers do, without a float's rounding.
        first, second = (part.ljust(3, "0") for part in self.parts)
        return self.written[0] if (first > second) == self.larger else self.written[1]


def draw_pair(split: str, rng: random.Random) -> Pair:
    """A pair of this split whose fractions differ in length, and in value."""
    while True:
        # One fraction is longer than the other, so that comparing them as whole numbers (9 and 11) misleads.
        short = str(rng.randint(1, 9))
        long = str(rng.randint(10, 99) if rng.random() < 0.8 else rng.randint(100, 999))
        if short.ljust(3, "0") == long.ljust(3, "0"):
            continue
        parts = (short, long) if rng.random() < 0.5 else (long, short)
        pair = Pair(rng.randint(0, LARGEST_WHOLE), parts, rng.random() < 0.5)
        if split_of(pair.skeleton) == split:
            return pair


def decimals(split: str, n: int | None, seed: int) -> list[Problem]:
    """Which of two decimals is larger, or smaller; split by the pair."""
    require_split("decimals", split)
    rng = random.Random(f"decimals:{split}:{seed}")
    pairs = distinct(lambda: draw_pair(split, rng), 200 if n is None else n)
    return [
        Problem(
            id=f"decimals-{split}-{seed}-{i}",
            prompt=f"Which is {'larger' if pair.larger else 'smaller'}, {pair.written[0]} or {pair.written[1]}? "
                   f"Answer with the number.",
            answer=pair.answer,
            verifier="math",
            family="decimals",
            skeleton=pair.skeleton,
        )
        for i, pair in enumerate(pairs)
    ]
