"""Countdown: make the target out of three or four numbers, after the game show's round."""

import random
from typing import Any  # options of several types

from eval.errors import ProblemSetError
from eval.problems.split import require_split, split_of
from rewards.types import Problem

LARGEST_NUMBER = 99
LARGEST_TARGET = 99
PATIENCE = 10_000  # draws in a row that bring nothing new, for each size, before the set counts as exhausted
LITTLE: dict[str, Any] = {"sizes": (3, 4), "largest_number": 9, "largest_target": 30}


def countdown(
    split: str,
    n: int | None,
    seed: int,
    *,
    sizes: tuple[int, ...] = (3, 4),
    largest_number: int = LARGEST_NUMBER,
    largest_target: int = LARGEST_TARGET,
) -> list[Problem]:
    """Countdown: three or four numbers and a target that + - * / can make of them, each used at most once.

    Every problem can be solved: `meta["solution"]` is an expression over all of its numbers whose partial
    results are whole and positive. Problems differ in skeleton (the sorted numbers and the target), which
    also decides the split. Raises ProblemSetError where the given sizes and limits hold fewer than n
    problems.
    """
    require_split("countdown", split)
    # The limits are part of the seed, so that sets with different ones have different beginnings.
    rng = random.Random(f"countdown:{split}:{seed}:{sizes}:{largest_number}:{largest_target}")
    wanted = 1000 if n is None else n
    problems: dict[str, Problem] = {}
    misses = 0
    while len(problems) < wanted:
        problem = draw_countdown(rng, sizes, largest_number, largest_target)
        if problem is None or problem.skeleton in problems or split_of(problem.skeleton) != split:
            misses += 1
            if misses > PATIENCE * len(sizes):
                raise ProblemSetError(
                    f"countdown:{split} with sizes {sizes}, numbers up to {largest_number} and targets up to "
                    f"{largest_target} gave {len(problems)} problems, not {wanted}"
                )
            continue
        misses = 0
        problems[problem.skeleton] = problem
    return list(problems.values())


def little_countdown(split: str, n: int | None, seed: int) -> list[Problem]:
    """Countdown with three or four numbers up to 9 and targets up to 30."""
    return countdown(split, n, seed, **LITTLE)


def draw_countdown(
    rng: random.Random, sizes: tuple[int, ...], largest_number: int, largest_target: int
) -> Problem | None:
    """One problem, or None where the numbers drawn did not lead to an allowed target."""
    numbers = [rng.randint(1, largest_number) for _ in range(rng.choice(sizes))]
    parts = [(number, str(number)) for number in numbers]
    while len(parts) > 1:
        (a, left), (b, right) = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        options = [(a + b, "+"), (a * b, "*")]
        # No negative numbers and no fractions on the way, as in the game.
        options += [(a - b, "-")] if a > b else []
        options += [(a // b, "/")] if a % b == 0 else []
        value, sign = rng.choice(options)
        parts.append((value, f"({left} {sign} {right})"))
    target, solution = parts[0]
    # A target that is one of the numbers would be solved by naming it.
    if target > largest_target or target in numbers:
        return None
    skeleton = f"{' '.join(map(str, sorted(numbers)))} = {target}"
    listed = f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
    return Problem(
        id="countdown-" + skeleton.replace(" = ", "=").replace(" ", "-"),
        prompt=f"Use the numbers {listed}, each at most once, and + - * / to make {target}. "
        "Answer with the expression.",
        answer={"numbers": numbers, "target": target},
        verifier="countdown",
        family="countdown",
        skeleton=skeleton,
        meta={"solution": solution.removeprefix("(").removesuffix(")")},
    )
