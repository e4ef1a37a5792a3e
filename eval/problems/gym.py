"""reasoning-gym's generators by name: `gym:gsm_symbolic:test` (Stojanovski et al. 2025, arXiv 2505.24760; extra `gym`).

Each problem is scored by its generator's own scorer (verifier `gym`). Generators know no splits: a question belongs to
the split that its text hashes to, half to each, so that training and test problems never share one.
"""

import importlib.util
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any  # reasoning-gym's data sets have no types

from eval.errors import ProblemSetError
from eval.problems.split import require_split, split_of
from rewards.lazy import lazy
from rewards.types import Problem

with lazy:
    import reasoning_gym
    from reasoning_gym import factory

PATIENCE = 1000  # questions in a row that bring nothing new: a generator may know only a handful
USUAL = 100  # problems where no number is asked for
SIZE = 10_000
"""Problems that a generator is made with; some lay all of them out beforehand. The scorer has the same number."""


def generator(name: str) -> Callable[[str, int | None, int], list[Problem]]:
    """The problem set of one generator, with its default options. Nothing is imported until it is asked for
    problems."""

    def problems(split: str, n: int | None, seed: int) -> list[Problem]:
        require_split(f"gym:{name}", split)
        # Problem i of a generator is drawn from seed + i, so seeds must lie farther apart than SIZE.
        first = seed * 1_000_000
        dataset = _dataset(name, first)
        found: dict[str, Problem] = {}
        index, misses = 0, 0
        while len(found) < (USUAL if n is None else n) and misses < PATIENCE and index < SIZE:
            question = str(dataset[index]["question"])
            if question in found or split_of(f"{name}: {question}", 0.5) != split:
                misses += 1
            else:
                misses = 0
                found[question] = _problem(name, question, split, first, index)
            index += 1
        return list(found.values())

    return problems


def require_gym(reference: str, split: str, n: int | None) -> None:
    """Raises ProblemSetError where it is known without making a generator that it gives no n problems of this split."""
    require_split(reference, split)
    _require_package(reference)
    if n is not None and n > SIZE:
        raise ProblemSetError(f"{reference} gives at most {SIZE:,} problems; {n:,} were asked for")


def _require_package(reference: str) -> None:
    if importlib.util.find_spec("reasoning_gym") is None:
        raise ProblemSetError(f"{reference} needs the package reasoning-gym: pip install 'retort[gym]'")


def _problem(name: str, question: str, split: str, seed: int, index: int) -> Problem:
    return Problem(
        id=f"gym-{name}-{split}-{seed + index}",
        prompt=question,
        answer={"generator": name, "seed": seed, "index": index},
        verifier="gym",
        family=f"gym:{name}",
        skeleton=f"{name}: {question}",
    )


def _dataset(name: str, seed: int) -> Any:
    _require_package(f"gym:{name}")
    if name not in factory.DATASETS:
        near = get_close_matches(name, factory.DATASETS, n=1, cutoff=0.5)
        raise ProblemSetError(
            f"reasoning-gym has no generator {name!r}; {f'did you mean {near[0]!r}?' if near else 'see its gallery'}"
        )
    # Generators check their options with `assert`.
    try:
        return reasoning_gym.create_dataset(name, seed=seed, size=SIZE)
    except (AssertionError, ValueError, TypeError, OSError) as error:
        raise ProblemSetError(
            f"gym:{name} cannot be made with its default options: {' '.join(str(error).split())}"
        ) from error
