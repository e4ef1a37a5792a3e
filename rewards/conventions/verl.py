"""verl's convention: `compute_score(data_source, solution_str, ground_truth, extra_info)`, as its reward managers call
it.

A number is the score; of a dict, what stands under "score", and the other numbers in it are told beside it; of a tuple,
the first item (verl's naive, dapo and prime managers). Its batch manager gives lists under the names in plural.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import SupportsFloat

from rewards.conventions import awaiting
from rewards.conventions.scoring import Ask, Scoring, check_options
from rewards.conventions.signature import Signature
from rewards.registry import RegistryError
from rewards.scores import RubricError, Scored, failure, number
from rewards.types import Completion, Problem

ONE = ("data_source", "solution_str", "ground_truth", "extra_info")
MANY = ("data_sources", "solution_strs", "ground_truths", "extra_infos")
SERVED = ("reward_router_address", "reward_model_tokenizer")
"""What verl gives where a reward model is served beside the training."""


def bound(function: Callable[..., object], signature: Signature, options: Mapping[str, object], who: str) -> Scoring:
    """`options` are verl's `reward_kwargs`: further arguments of the function. Raises RegistryError, also for one that
    asks a reward model that verl serves."""
    many = signature.names(*MANY)
    own = MANY if many else ONE
    if not signature.anything:
        check_options(options, [name for name in signature.named if name not in own], who)
    lacking = signature.lacks((*own, *options))
    if lacking:
        if lacking[0] in SERVED:
            raise RegistryError(f"{who} asks a reward model that verl serves ({lacking[0]}), and there is none here")
        raise RegistryError(f"{who} needs the option {lacking[0]!r}: {{weight: 1.0, {lacking[0]}: ..}}")

    def score(ask: Ask) -> list[Scored]:
        named = f"{who}, for problem {ask.problem.id!r},"
        rows = [_row(ask.problem, completion) for completion in ask.completions]
        try:
            if many:
                asked = {MANY[place]: [row[place] for row in rows] for place in range(len(MANY))}
                [found] = awaiting.results([function(**signature.taken({**asked, **options}))])
            else:
                found = awaiting.results([
                    function(**signature.taken({**dict(zip(ONE, row, strict=True)), **options})) for row in rows
                ])
        except (Exception, SystemExit) as error:  # anyone's code, which may call sys.exit
            raise failure(named, error) from error
        if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != len(rows):
            raise RubricError(f"{named} returned no list with a score for each of {len(rows)} completions")
        return [_scored(one, named) for one in found]

    return Scoring(who, score, whole=many or awaiting.is_async(function))


def _row(problem: Problem, completion: Completion) -> tuple[object, object, object, object]:
    meta = copy.deepcopy(dict(problem.meta))
    # Problems that are not verl's own rows: the family is what their data set is called.
    source = meta.get("data_source", problem.family)
    # Where the answer has become text, the row's own stands beside it.
    truth = meta.get("ground_truth", copy.deepcopy(problem.answer))
    return source, completion.text, truth, meta.get("extra_info") or {}


def _scored(given: object, named: str) -> Scored:
    if isinstance(given, Mapping):
        if "score" not in given:
            there = ", ".join(repr(str(key)) for key in list(given)[:8])
            raise RubricError(f"{named} returned a dict without 'score'; it has {there or 'nothing'}")
        told = {str(key): value for key, value in given.items()}
        answer, right = told.get("pred"), told.get("acc")
        return Scored(
            number(f"{named} under 'score'", told["score"]),
            {key: value for key in told if key != "score" and (value := _figure(told[key])) is not None},
            None if (accuracy := _figure(right)) is None else accuracy >= 1.0,
            answer if isinstance(answer, str) else None,
        )
    if isinstance(given, tuple | list):
        if not given:
            raise RubricError(f"{named} returned an empty {type(given).__name__}; a reward is a number")
        return Scored(number(named, given[0]))
    return Scored(number(named, given))


def _figure(given: object) -> float | None:
    """A number that is told beside the score; None for everything else, which verl keeps for its logs of texts."""
    if not isinstance(given, SupportsFloat):
        return None
    try:
        value = float(given)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return value if math.isfinite(value) else None
