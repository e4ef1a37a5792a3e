"""trl's convention: `f(prompts, completions, **columns) -> list[float | None]`, as its GRPOTrainer calls it.

Read from trl 1.16, `GRPOTrainer._calculate_rewards`. There the lists hold all rollouts of a batch; here those of one
problem in one round, which stand in the same order.
"""

import copy
import itertools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import get_args, get_origin

from rewards.conventions import awaiting
from rewards.conventions.scoring import (
    Ask,
    Scoring,
    answer_messages,
    check_options,
    columns,
    flag,
    form_hint,
    prompt_messages,
)
from rewards.conventions.signature import Signature
from rewards.registry import RegistryError
from rewards.scores import RubricError, Scored, failure, number
from rewards.types import Problem

OWN = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")
"""What the trainer gives besides the columns."""

OPTIONS = ("conversational",)


def bound(function: Callable[..., object], signature: Signature, options: Mapping[str, object], who: str) -> Scoring:
    """`options` may be `conversational` (whether prompts and completions are messages or texts) and parameters of the
    function that the trainer does not give. Raises RegistryError."""
    given = dict(options)
    conversational = flag(given, "conversational", who)
    free = [name for name in signature.named if name not in OWN]
    check_options(given, [*free, *OPTIONS], who)
    for name in ("prompt", "completion"):
        if name in signature.needed() and name not in given:
            raise RegistryError(f"{who} takes {name!r}, and trl gives {name}s")
    if conversational is None:
        conversational = _annotated(signature.annotations.get("completions"))

    def score(ask: Ask) -> list[Scored]:
        named = f"{who}, for problem {ask.problem.id!r},"
        messages = _has_messages(ask.problem) if conversational is None else conversational
        metrics: dict[str, float] = {}

        def log_metric(name: str, value: object) -> None:
            metrics[name] = number(f"{named} logged {name!r}, which", value)

        offered = {**_columns_of(ask), **_own(ask, messages), "log_metric": log_metric, **given}
        try:
            [rewards] = awaiting.results([function(**signature.taken(offered))])
        except RubricError:
            raise
        except (Exception, SystemExit) as error:  # anyone's code, which may call sys.exit
            raise RubricError(f"{failure(named, error)}{form_hint(error, messages=messages)}") from error
        return [
            Scored(None if reward is None else number(named, reward), metrics)
            for reward in _listed(rewards, len(ask.completions), named)
        ]

    needs = [name for name in signature.lacks((*OWN, *given)) if name not in OWN]
    return Scoring(who, score, whole=True, needs=needs)


def _own(ask: Ask, messages: bool) -> dict[str, object]:
    count = len(ask.completions)
    texts: list[object] = [completion.text for completion in ask.completions]
    return {
        "prompts": [prompt_messages(ask.problem) if messages else ask.problem.prompt for _ in range(count)],
        "completions": [answer_messages(completion) for completion in ask.completions] if messages else texts,
        "completion_ids": [list(completion.ids) for completion in ask.completions],
        "trainer_state": types.SimpleNamespace(global_step=ask.step),
        "log_extra": _log_extra,
    }


def _log_extra(column: str, values: object) -> None:
    """trl shows such columns beside the completions; there is no such table here."""


def _columns_of(ask: Ask) -> dict[str, list[object]]:
    """Every column as a list with an item for each completion; trl leaves these three out as well."""
    row = {name: value for name, value in columns(ask.problem).items()
           if name not in ("prompt", "completion", "completion_ids")}
    return {name: [copy.deepcopy(value) for _ in ask.completions] for name, value in row.items()}


def _has_messages(problem: Problem) -> bool:
    return isinstance(problem.meta.get("prompt"), list)


def _annotated(annotation: object) -> bool | None:
    """Whether `completions` is declared as lists of messages or as texts; None where that is not said."""
    if isinstance(annotation, str):  # under `from __future__ import annotations`
        plain = annotation.lower().replace(" ", "").replace("typing.", "")
        return {"list[str]": False, "sequence[str]": False}.get(plain, True if plain.startswith("list[list") else None)
    if get_origin(annotation) is None or not get_args(annotation):
        return None
    item = get_args(annotation)[0]
    if item is str:
        return False
    return True if get_origin(item) is list or item is list else None


def _listed(rewards: object, count: int, named: str) -> list[object]:
    # An array or a tensor is as good as a list.
    if isinstance(rewards, str | bytes | Mapping) or not isinstance(rewards, Iterable):
        kind = type(rewards).__name__
        raise RubricError(f"{named} returned an object of {kind} and no list with a reward for each completion")
    try:
        listed = list(itertools.islice(rewards, count + 1))  # a generator may have no end
    except Exception as error:  # an array without a dimension, or a generator of anyone's
        raise RubricError(f"{failure(named, error)}; it has to return a reward for each completion") from error
    if len(listed) != count:
        more = "more" if len(listed) > count else str(len(listed))
        raise RubricError(f"{named} returned {more} rewards for {count} completions")
    return listed
