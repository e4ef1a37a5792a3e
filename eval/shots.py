"""Worked examples for few-shot prompts, from a problem set's own training split."""

from pathlib import Path

from eval.errors import ProblemSetError
from eval.problems import is_at_hand, load, require_held
from eval.protocol import Shot
from rewards.types import Problem


def train_split(reference: str) -> str:
    """The split of the same set that worked examples come from."""
    return f"{reference.rpartition(':')[0]}:train"


def shots_of(reference: str, count: int, *, base: Path | None = None) -> tuple[Shot, ...]:
    """The first `count` problems of the set's train split with their solutions: `meta["solution"]` where the set has
    one, else the bare answer in <answer> tags.

    Raises ProblemSetError where the set has no train split, or answers that are no text.
    """
    if not count:
        return ()
    if reference.endswith(":train"):
        raise ProblemSetError(f"{reference}: worked examples come from the train split, so measure another one")
    try:
        problems = load(train_split(reference), count, seed=0, base=base)
    except ProblemSetError as error:
        raise ProblemSetError(f"{reference} has no worked examples for few-shot prompts: {error}") from error
    return tuple((problem.prompt, _solution(problem)) for problem in problems)


def require_shots(reference: str, count: int, *, base: Path | None = None) -> None:
    """Raises ProblemSetError where `shots_of` would, as far as this machine knows without a hub."""
    name, _, split = reference.rpartition(":")
    if not count or split == "train" or not name:
        if count:
            shots_of(reference, count, base=base)
        return
    try:
        require_held(train_split(reference), count, base=base)
    except ProblemSetError as error:
        raise ProblemSetError(f"{reference} has no worked examples for few-shot prompts: {error}") from error
    if is_at_hand(train_split(reference), base=base):
        shots_of(reference, count, base=base)


def _solution(problem: Problem) -> str:
    told = problem.meta.get("solution")
    if isinstance(told, str):
        return told.strip()
    if not isinstance(problem.answer, str):
        raise ProblemSetError(f"problem {problem.id} has no solution that could be shown as a worked example")
    return f"<answer>{problem.answer}</answer>"
