"""A needle in a haystack: one sentence with a number, somewhere in a long text, and a question about it at the end."""

import random

from eval.problems.filler import hide
from eval.problems.split import require_split, split_of
from eval.problems.words import LARGEST_TOTAL, NAMES
from rewards.types import Problem

LENGTHS = (64, 128, 192, 256)  # pieces of the prompt, each of which real tokenizers make about a token of
LENGTHS_32K = (4_000, 8_000, 16_000, 28_000)
LENGTHS_128K = (16_000, 32_000, 64_000, 112_000)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # where in the text the needle stands; 1 is just before the question


def haystack(name: str, number: int, length: int, depth: float, rng: random.Random) -> str:
    """A text of about `length` pieces with the needle at `depth`, and the question."""
    return hide(f"The code of {name} is {number}.", f"What is the code of {name}?", length, depth, rng)


def draw_needle(split: str, rng: random.Random) -> tuple[str, int]:
    """A name and its number, split by the pair."""
    # Names and numbers of the word problems, each of which is a token of the quickstart's model.
    names = [name for group in NAMES.values() for name in group]
    while True:
        name, number = rng.choice(names), rng.randint(1, LARGEST_TOTAL)
        if split_of(f"{name} {number}") == split:
            return name, number


def needle(
    split: str, n: int | None, seed: int, *, lengths: tuple[int, ...] = LENGTHS, name: str = "needle"
) -> list[Problem]:
    """Needles over all lengths and depths in turn; `meta` says which, for a table of accuracy by both."""
    require_split("needle", split)
    rng = random.Random(f"needle:{split}:{seed}")
    # In turn and not drawn, so that every cell of the table by length and depth has as many problems.
    grid = [(length, depth) for length in lengths for depth in DEPTHS]
    problems = []
    for i in range(10 * len(grid) if n is None else n):
        length, depth = grid[i % len(grid)]
        person, number = draw_needle(split, rng)
        problems.append(
            Problem(
                id=f"{name}-{split}-{seed}-{i}",
                prompt=haystack(person, number, length, depth, rng),
                answer=str(number),
                verifier="math",
                family=name,
                skeleton=f"{person} {number}",
                meta={"length": length, "depth": depth},
            )
        )
    return problems


def needle_32k(split: str, n: int | None, seed: int) -> list[Problem]:
    """Needles in texts of 4,000 to 28,000 pieces, for a context of 32,768 tokens."""
    return needle(split, n, seed, lengths=LENGTHS_32K, name="needle_32k")


def needle_128k(split: str, n: int | None, seed: int) -> list[Problem]:
    """Needles in texts of 16,000 to 112,000 pieces, for a context of 131,072 tokens."""
    return needle(split, n, seed, lengths=LENGTHS_128K, name="needle_128k")
