"""The convention of verifiers: functions that take any of `prompt, completion, answer, state, info, task, parser` by
name, and `Rubric` objects that hold such functions with their weights.

Read from verifiers 0.1.3 to 0.3.0 (`Rubric.score_rollout`, `Rubric.score_group`); the package itself is not needed
for functions. Theirs takes a function that raises for one that gave 0.0; here it is an error.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
from rewards.registry import RegistryError, did_you_mean
from rewards.scores import RubricError, Scored, failure, number
from rewards.types import Completion, Problem

ONE = ("prompt", "completion", "answer", "state", "info", "task")
MANY = ("prompts", "completions", "answers", "states", "infos", "tasks")
JUDGES = ("judge", "judge_client", "judge_model", "judge_prompt")
OPTIONS = ("conversational", "parser")


class Message(dict[str, object]):
    """A message whose fields are items and attributes, as newer versions have them."""

    def __getattr__(self, name: str) -> object:
        if name in self:
            return self[name]
        raise AttributeError(name)


@dataclass(frozen=True)
class Member:
    """A function of a rubric: its weight there, and what the rubric offers it besides the rollout."""

    name: str
    function: Callable[..., object]
    signature: Signature
    weight: float = 1.0
    objects: Mapping[str, object] = field(default_factory=dict)

    @property
    def of_group(self) -> bool:
        return self.signature.names(*MANY)


def is_rubric(loaded: object) -> bool:
    """Whether it is a rubric, or an environment, which holds one."""
    return bool(_kinds(loaded) & {"Rubric", "Environment"})


def bound_rubric(rubric: object, options: Mapping[str, object], who: str) -> Scoring:
    """The sum of a rubric's functions by its own weights; each function's value is told beside it. Raises
    RegistryError, also for a rubric that asks a judge."""
    given = dict(options)
    messages = flag(given, "conversational", who)
    check_options(given, OPTIONS[:1], who)
    members = list(_members(rubric, who))
    if not members:
        raise RegistryError(f"{who} is a rubric without functions")
    return _scoring(members, messages is not False, who, alone=False)


def bound(function: Callable[..., object], signature: Signature, options: Mapping[str, object], who: str) -> Scoring:
    """`options` may be `conversational` (true: messages, or texts), `parser` (the name of a parser in the function's
    file) and parameters of the function that are no part of a rollout. Raises RegistryError."""
    given = dict(options)
    messages = flag(given, "conversational", who)
    free = [name for name in signature.named if name not in (*ONE, *MANY)]
    check_options(given, [*free, *OPTIONS], who)
    if "parser" in given:
        given["parser"] = _named_parser(function, given["parser"], who)
    elif "parser" in signature.needed():
        raise RegistryError(f"{who} takes a parser: name the one in its file by the option parser, or a Rubric that "
                            "holds both")
    member = Member(who, function, signature, objects=given)
    _refuse_judges(member, who)
    return _scoring([member], messages is not False, who, alone=True)


def _scoring(members: Sequence[Member], messages: bool, who: str, *, alone: bool) -> Scoring:
    def score(ask: Ask) -> list[Scored]:
        values = [_values(member, ask, messages, who, alone=alone) for member in members]
        rows = list(zip(*values, strict=True))
        if alone:
            return [Scored(value) for [value] in rows]
        return [
            Scored(
                sum(member.weight * value for member, value in zip(members, row, strict=True)),
                {member.name: value for member, value in zip(members, row, strict=True)},
            )
            for row in rows
        ]

    whole = any(member.of_group or awaiting.is_async(member.function) for member in members)
    known = {*ONE, *MANY}
    needs = {name: None for member in members for name in member.signature.lacks((*known, *member.objects))}
    return Scoring(who, score, whole, needs=list(needs))


def _values(member: Member, ask: Ask, messages: bool, who: str, *, alone: bool) -> list[float]:
    named = f"{who}, for problem {ask.problem.id!r}," if alone else (
        f"{member.name!r} of {who}, for problem {ask.problem.id!r},"
    )
    rollouts = [_rollout(ask.problem, completion, messages) for completion in ask.completions]
    try:
        if member.of_group:
            many = {plural: [rollout[one] for rollout in rollouts] for one, plural in zip(ONE, MANY, strict=True)}
            offered = {**columns(ask.problem), **many, **member.objects}
            [given] = awaiting.results([member.function(**member.signature.taken(offered))])
        else:
            given = awaiting.results([
                member.function(**member.signature.taken({**columns(ask.problem), **rollout, **member.objects}))
                for rollout in rollouts
            ])
    except (Exception, SystemExit) as error:  # anyone's code, which may call sys.exit
        raise RubricError(f"{failure(named, error)}{form_hint(error, messages=messages)}") from error
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != len(rollouts):
        raise RubricError(f"{named} returned no list with a reward for each of {len(rollouts)} completions")
    return [number(named, one) for one in given]


def _rollout(problem: Problem, completion: Completion, messages: bool) -> dict[str, object]:
    prompt: object = problem.prompt
    written: object = completion.text
    if messages:
        prompt = [Message(message) for message in prompt_messages(problem)]
        written = [Message(message) for message in answer_messages(completion)]
    rollout = {
        "prompt": prompt, "completion": written, "answer": problem.answer, "info": _info(problem),
        "task": problem.meta.get("task", problem.family),
    }
    # What it says of turns: their environments count them in every rubric.
    turn = {"prompt": prompt, "completion": written, "is_truncated": not completion.finished, "extras": {}}
    state = {**rollout, "example_id": problem.id, "is_completed": True, "is_truncated": not completion.finished,
             "trajectory": [turn]}
    return {**rollout, "state": state}


def _info(problem: Problem) -> object:
    info = columns(problem).get("info") or {}
    if not isinstance(info, str):
        return info
    try:  # data sets whose rows differ keep it as text
        return json.loads(info)
    except ValueError:
        return info


def _members(rubric: object, who: str) -> Iterator[Member]:
    kinds, held = _kinds(rubric), vars(rubric)
    if "Environment" in kinds:
        yield from _members(held["rubric"], who)
        return
    if "JudgeRubric" in kinds:
        raise RegistryError(f"{who} is a JudgeRubric: it asks a judge on a server, which rewards here do not; "
                            "name the functions that do without")
    if "RubricGroup" in kinds:
        for one in held["rubrics"]:
            yield from _members(one, who)
        return
    for one in type(rubric).__mro__:
        if not _is_theirs(one) and {"score_rollout", "score_group"} & set(vars(one)):
            raise RegistryError(f"{who} is a {one.__name__}, which scores in a way of its own and not by its "
                                "functions: name one of these")
    # Before 0.1.8 they were called by longer names.
    functions = held.get("funcs", held.get("reward_funcs", ()))
    weights = held.get("weights", held.get("reward_weights", ()))
    for function, weight in zip(functions, weights, strict=True):
        name = getattr(function, "__name__", type(function).__name__)
        member = Member(name, function, Signature.of(function, f"{name!r} of {who}"), number(who, weight),
                        held["class_objects"])
        _refuse_judges(member, who)
        yield member


def _refuse_judges(member: Member, who: str) -> None:
    asked = [name for name in member.signature.needed() if name in JUDGES]
    if asked:
        raise RegistryError(f"{who} asks a judge on a server ({asked[0]}), which rewards here do not")


def _named_parser(function: Callable[..., object], name: object, who: str) -> object:
    place = vars(sys.modules[function.__module__])
    if not isinstance(name, str) or name not in place:
        hint = did_you_mean(name, list(place)) if isinstance(name, str) else ""
        raise RegistryError(f"{who}: parser is the name of a parser in its file, not {name!r}{hint}")
    found: object = place[name]
    return found


def _kinds(loaded: object) -> set[str]:
    """The names of the package's classes that this is an object of; the package need not be there to ask."""
    return {one.__name__ for one in type(loaded).__mro__ if _is_theirs(one)}


def _is_theirs(one: type) -> bool:
    return one.__module__.partition(".")[0] == "verifiers"
