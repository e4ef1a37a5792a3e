"""Choosing one of several rollouts of a problem when nobody knows which of them are right: best of n.

The vote of the majority (self-consistency, Wang et al. 2022, arXiv 2203.11171) needs nothing but the answers, and is
maj@k of `metrics.py`. Here is what ranks whole rollouts by a value (Cobbe et al. 2021, arXiv 2110.14168): the model's
own confidence, or a rule of one's own, which may ask a model that judges. The verdict is no such value. It is what the
choice is measured by, and the best by it is pass@k, an oracle.

Beam search over tokens and tree search over steps are left out. A beam looks for the likeliest text, which for open
texts is not the best one (Holtzman et al. 2020, arXiv 1904.09751), and its rows depend on each other, so that no
rollout would have a stream of its own. A tree needs the worth of what is not finished: a process reward model, which
nothing here trains. Without one a step is worth what rollouts from it come to, and these can vote themselves.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from eval.rollouts import Rollout
from rewards.conventions.scoring import Ask
from rewards.rubric import Rubric
from rewards.types import Problem

CONFIDENCE = "confidence"
LEAST = -1e6
"""The confidence in a rollout of no token, which is below that in any other."""


class Chooser(Protocol):
    """Gives every rollout a value; of several of one problem the one with the highest is chosen."""

    def __call__(self, rollouts: Sequence[Rollout]) -> list[float]: ...


def chooser(name: str, base: Path | None = None) -> Chooser:
    """By the model's own confidence, the mean log-probability of a rollout, or by the rule of this name, a built-in one
    or a file's, which is found from `base`. Raises ValueError, in one line, where there is no such rule."""
    if name == CONFIDENCE:
        return _by_confidence
    rubric = _rubric(name, base)

    def by_rule(rollouts: Sequence[Rollout]) -> list[float]:
        found: list[float] = []
        for _, group in groupby(rollouts, key=lambda rollout: rollout.problem.id):
            found += _scored(rubric, list(group))
        return found

    return by_rule


def compares(name: str) -> bool:
    """Whether a rule compares the rollouts of a problem, and so needs all of them at once. Raises ValueError as
    `chooser` does."""
    return name != CONFIDENCE and _rubric(name, None).whole


def _rubric(name: str, base: Path | None) -> Rubric:
    try:
        return Rubric.model_validate({"correct": 0.0, "rules": {name: 1.0}}, context={"base": base})
    except ValidationError as error:
        raise ValueError(f"best_by: {error.errors()[0]['msg']}") from error


def _by_confidence(rollouts: Sequence[Rollout]) -> list[float]:
    given = [rollout.completion.confidence for rollout in rollouts]
    return [LEAST if value is None else value for value in given]


def _scored(rubric: Rubric, rollouts: Sequence[Rollout]) -> list[float]:
    """What a rule gives rollouts of one problem; 0 where it does not apply."""
    problem: Problem = rollouts[0].problem
    verdicts, completions = [one.verdict for one in rollouts], [one.completion for one in rollouts]
    rewards = [rubric.alone(problem, *both) for both in zip(completions, verdicts, strict=True)]
    if rubric.whole:  # it compares the rollouts of a problem
        rewards = rubric.together(Ask(problem, completions), verdicts, rewards)
    return [reward.total or 0.0 for reward in rewards]
