"""Problems that are asked with low, medium and high effort: what they are called, and what is told of each effort."""

from collections.abc import Sequence
from dataclasses import replace

from eval.protocol import Effort
from rewards.types import Completion, Problem, Verdict

_BUDGET = "thinking_budget"  # where the rule `effort` looks for it


def asked_with(problem: str, effort: Effort | None) -> str:
    """What a problem is called that is asked with this effort; the same problem is another one with another effort."""
    return f"{problem} at {effort} effort" if effort else problem


def with_budget(problem: Problem, effort: Effort, budget: int) -> Problem:
    """The problem, whose meta tells rules of the effort that it is asked with and of the tokens that its thinking may
    have then."""
    return replace(problem, meta={**problem.meta, "effort": effort, _BUDGET: budget})


def has_budget(problem: Problem) -> bool:
    return _BUDGET in problem.meta


Told = tuple[str, int, int, bool]
"""Of a rollout its effort, its tokens, those of its thinking, and whether it is correct."""


def told(problem: Problem, completion: Completion, verdict: Verdict) -> Told:
    """Of a rollout of a problem that was asked with an effort."""
    return problem.meta["effort"], completion.tokens, completion.thinking or 0, verdict.correct


def figures(rollouts: Sequence[Told]) -> dict[str, float]:
    """For metrics.jsonl: the mean length, the mean length of the thinking and the accuracy by effort."""
    found: dict[str, float] = {}
    for effort in dict.fromkeys(one[0] for one in rollouts):
        own = [one for one in rollouts if one[0] == effort]
        for place, name in enumerate(("length", "thinking", "accuracy"), start=1):
            found[f"effort/{effort}/{name}"] = sum(float(one[place]) for one in own) / len(own)
    return dict(sorted(found.items()))
