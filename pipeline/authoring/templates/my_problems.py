"""A problem set. In a recipe, beside its file:

    problems: [my_problems.py:my_problems:train]
"""

import random

from rewards.types import Problem


def my_problems(split: str, n: int | None, seed: int) -> list[Problem]:
    """Sums of two numbers: even ones to train on, odd ones to test."""
    first = {"train": 0, "test": 1}[split]
    pairs = [(a, b) for a in range(first, 100, 2) for b in range(first, 100, 2)]
    # The first n of a larger draw with the same seed, so that asking for more only adds.
    random.Random(seed).shuffle(pairs)
    return [
        Problem(
            id=f"{split}-{a}-{b}", prompt=f"What is {a} + {b}?", answer=str(a + b), verifier="math", family="sums",
            # What is asked, without its wording: by it a test problem is known again in training data.
            skeleton=f"{a} + {b}",
        )
        for a, b in pairs[:n]
    ]
