"""What a reference with a prefix leads to, bound to the options that a person gave: a function, an object that holds
some, or a function that makes one."""

import inspect
from collections.abc import Callable, Mapping
from typing import TypeVar

from rewards.conventions import tasksets, trl, verifiers, verl
from rewards.conventions.scoring import Scoring
from rewards.conventions.signature import Signature
from rewards.foreign import LOADING, calling, signals_kept
from rewards.registry import Entry, RegistryError

T = TypeVar("T")

SHAPES = {
    "trl": "f(prompts, completions, **columns) -> list of float or None",
    "verl": "compute_score(data_source, solution_str, ground_truth, extra_info) -> float or dict with \"score\"",
    "verifiers": "f(prompt, completion, answer, state, info, task) -> float, or a Rubric",
}
"""What functions look like, by prefix."""

NAMES = frozenset({*trl.OWN, *verl.ONE, *verl.MANY, *verifiers.ONE, *verifiers.MANY, "parser"})
"""What these functions call what they take."""

_BINDERS: Mapping[str, Callable[[Callable[..., object], Signature, Mapping[str, object], str], Scoring]] = {
    "trl": trl.bound, "verl": verl.bound, "verifiers": verifiers.bound
}
_MAKER = "load_environment"
"""What modules of verifiers' environments call the function that makes one."""


def bound(entry: Entry[T], options: Mapping[str, object]) -> Scoring:
    """The scoring of an entry that has a prefix. `options` come on top of those in the reference.

    A function that takes nothing of a rollout makes one: it is called once, with its options, and `conversational` is
    for what it made. Raises RegistryError in one line, where the function is of another convention with the right
    prefix.
    """
    who = f"{entry.kind} {entry.reference!r}"
    given = {**entry.arguments, **options}
    loaded: object = entry.load()
    if entry.prefix == "verifiers" and tasksets.is_taskset(loaded):
        return tasksets.bound_taskset(entry.bare.rpartition(":")[0], given, who)
    for _ in range(2):
        if entry.prefix == "verifiers" and verifiers.is_rubric(loaded):
            return verifiers.bound_rubric(loaded, given, who)
        signature = Signature.of(loaded, who)
        assert callable(loaded)  # or it had no signature
        if not _makes(loaded, signature):
            _check_shape(entry.prefix, signature, entry.bare, who)
            return _BINDERS[entry.prefix](loaded, signature, given, who)
        loaded, given = _made(loaded, signature, given, f"{who} {signature.shown}", entry.prefix)
    raise RegistryError(f"{who} made no reward function; {entry.prefix}'s are {SHAPES[entry.prefix]}")


def fitting(signature: Signature) -> list[str]:
    """The prefixes of the conventions that a function is of, by the names that it takes."""
    if signature.by_position:
        return []
    found = []
    if signature.names("completions", "prompts", "completion_ids") and not signature.names(*verifiers.MANY[2:]):
        found.append("trl")
    if signature.names(*verl.ONE[:2], *verl.MANY):
        found.append("verl")
    singular = signature.names(*verifiers.ONE) and not signature.names("completions", "completion_ids")
    of_group = signature.names(*verifiers.MANY) and not signature.names(*verifiers.ONE)
    # Nothing else tells verl's `ground_truth` from a column; and (problem, completion) is ours.
    if (singular or of_group or signature.names("parser")) and not signature.names("problem", *verl.ONE[1:3]):
        found.append("verifiers")
    return found


def prefix_for(function: object, target: str) -> str:
    """`; it looks like a function for trl: write trl:mine.py:f`, where it fits a convention by its names; else ""."""
    try:
        signature = Signature.of(function, "")
    except RegistryError:
        return ""
    found = fitting(signature)
    return f"; it looks like a function for {found[0]}: write {found[0]}:{target}" if found else ""


def _check_shape(prefix: str, signature: Signature, target: str, who: str) -> None:
    found = fitting(signature)
    if prefix in found:
        return
    if signature.anything and not found and not signature.by_position and not signature.needed():
        return  # it takes whatever comes
    hint = f"; it looks like a function for {found[0]}: write {found[0]}:{target}" if found else ""
    if not found and tuple(signature.named)[:2] == ("problem", "completion"):
        hint = f"; it looks like a rule of Retort's own: write {target}"
    raise RegistryError(f"{who} takes {signature.shown} and is not {prefix}'s {SHAPES[prefix]}{hint}")


def _makes(function: object, signature: Signature) -> bool:
    """Whether this is called once to make a reward function: it takes nothing of a rollout."""
    if getattr(function, "__name__", "") == _MAKER or inspect.isclass(function):
        return True
    return not fitting(signature) and not signature.anything and not signature.by_position and (
        not signature.names("problem", "completion", *verl.ONE)
    )


def _made(
    function: Callable[..., object], signature: Signature, options: Mapping[str, object], who: str, prefix: str
) -> tuple[object, dict[str, object]]:
    """What the function makes of its options, and the options that are left for it."""
    given = signature.taken({name: value for name, value in options.items() if name != "conversational"})
    lacking = signature.lacks(given)
    if lacking:
        raise RegistryError(f"{who} takes nothing of a rollout, so that it has to make a function of {prefix}'s, and "
                            f"needs the option {lacking[0]!r} for it: {{weight: 1.0, {lacking[0]}: ..}}")
    try:
        with calling(who, LOADING), signals_kept():
            made = function(**given)
    except (Exception, SystemExit) as error:  # anyone's code, which may call sys.exit
        said = " ".join(str(error).split())[:300]
        raise RegistryError(f"{who} failed: {type(error).__name__}: {said}") from error
    return made, {name: value for name, value in options.items() if name not in given}
