"""Worked examples for few-shot prompts, from a problem set's own training split."""

from pathlib import Path

from eval.errors import ProblemSetError
from eval.problems import is_at_hand, load, own_rows, require_held
from eval.protocol import Shot
from rewards.types import Problem


def train_split(reference: str) -> str:
    """The split of the same set that worked examples come from. Raises ProblemSetError for a file without splits."""
    if (own := own_rows(reference)) and not own.split:
        raise ProblemSetError(f"{reference}: all rows of the file are measured, so that none is left for worked "
                              f"examples; write {reference}:test, whose examples are from its :train")
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
    train = train_split(reference)
    try:
        problems = load(train, count, seed=0, base=base)
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
    train = train_split(reference)
    try:
        require_held(train, count, base=base)
    except ProblemSetError as error:
        raise ProblemSetError(f"{reference} has no worked examples for few-shot prompts: {error}") from error
    if is_at_hand(train, base=base):
        shots_of(reference, count, base=base)


def _solution(problem: Problem) -> str:
    told = problem.meta.get("solution")
    if isinstance(told, str):
        return told.strip()
    if not isinstance(problem.answer, str):
        raise ProblemSetError(f"problem {problem.id} has no solution that could be shown as a worked example")
    return f"<answer>{problem.answer}</answer>"
