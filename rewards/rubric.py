"""The rubric: credit for a correct verdict plus weighted rules. Its total is the reward, or None where nobody can
grade."""

import functools
import inspect
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsFloat, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from rewards.errors import RetortError
from rewards.foreign import calling
from rewards.registry import Entry, RegistryError, did_you_mean
from rewards.rules import RULES, Rule, check_shape
from rewards.types import Completion, Label, Problem, Verdict

MOST_WEIGHT = 1_000_000
"""The largest reward of a correct verdict, and weight of a rule in either direction."""


class RubricError(RetortError, RuntimeError):
    """A rule failed on a completion; the message names the rule and is one line."""


@dataclass(frozen=True, slots=True)
class Reward:
    """`total` is None where the verdict is UNGRADABLE: the rollout leaves its group.

    `parts` holds what the total is made of, before weights: "correct" (1.0 or 0.0, or a share of tests) and the value
    of every rule.
    """

    total: float | None
    parts: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Weighted:
    entry: Entry[Rule]
    rule: Rule
    weight: float
    options: dict[str, Any]


class Rubric(BaseModel):
    """`correct` for a correct verdict, plus weight times value of every rule.

    In a recipe: `{correct: 1.0, partial: false, rules: {format: 0.2, overlong: {weight: 1.0, most: 512, buffer: 64}}}`.
    Rules and options are checked here, so a misspelled one is found when the recipe is read. Validate with
    `context={"base": folder}` for rules given as files relative to a recipe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    correct: float = Field(
        default=1.0, ge=0, le=MOST_WEIGHT, description="reward of a correct verdict; every other verdict gets 0"
    )
    partial: bool = Field(
        default=False, description="a wrong program gets `correct` times the share of tests that it passes"
    )
    rules: dict[str, float | dict[str, Any]] = Field(
        default_factory=dict, description="weight of each rule, or {weight: .., option: ..}"
    )

    _weighted: dict[str, _Weighted] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _resolve(self, info: ValidationInfo) -> "Rubric":
        # Once, when the recipe is read: what is wrong is found then, and no look-up is left for each completion.
        base = Path(info.context["base"]) if info.context and info.context.get("base") else None
        wrong: list[InitErrorDetails] = []
        for reference, given in self.rules.items():
            try:
                self._weighted[reference] = _weighted(reference, given, base)
            except ValueError as error:  # a RegistryError is one, too
                said = PydanticCustomError("recipe_error", "{said}", {"said": str(error)})
                wrong.append(InitErrorDetails(type=said, loc=("rules", reference), input=given))
        if wrong:  # each with the place of its rule, and all of them
            raise ValidationError.from_exception_data("Rubric", wrong)
        return self

    def score(self, problem: Problem, completion: Completion, verdict: Verdict) -> Reward:
        """The reward of one completion. Raises RubricError where a rule raises or returns no finite number."""
        # Nobody knows whether it is right, and rules alone must not reward it.
        if verdict.label is Label.UNGRADABLE:
            return Reward(None, {})
        share = verdict.share if self.partial and verdict.label is Label.WRONG else None
        parts = {"correct": 1.0 if verdict.correct else share or 0.0}
        total = self.correct * parts["correct"]
        for name, part in self._weighted.items():
            try:
                if part.entry.origin == "built-in":
                    given = part.rule(problem, completion, **part.options)
                else:
                    with calling(f"rule {name!r}, for problem {problem.id!r},"):
                        given = part.rule(problem, completion, **part.options)
            except Exception as error:  # a rule may be anyone's code
                raise RubricError(
                    f"rule {name!r} failed: {type(error).__name__}: {error}".replace("\n", " ")
                ) from error
            value = _number(name, given)
            parts[part.entry.name] = value
            total += part.weight * value
        return Reward(total, parts)

    def plug_ins(self) -> list[Entry[Rule]]:
        """The rules in use; their `source_hash()` belongs in the fingerprint."""
        return [part.entry for part in self._weighted.values()]


def _number(name: str, given: object) -> float:
    # Text is refused though Python reads some as numbers: a rule that returns "0.5" has another mistake in it.
    if not isinstance(given, SupportsFloat):
        raise RubricError(f"rule {name!r} returned {reprlib.repr(given)}; a reward is a number")
    value = float(given)
    # A single NaN would make the mean of its group NaN, and with it the advantage of every rollout there.
    if not math.isfinite(value):
        raise RubricError(f"rule {name!r} returned {value}; a reward is a finite number")
    return value


def _weighted(reference: str, given: float | Mapping[str, Any], base: Path | None) -> _Weighted:
    entry = RULES.resolve(reference, base=base)
    function = entry.load()
    check_shape(function, entry.name)
    options = dict(given) if isinstance(given, Mapping) else {"weight": given}
    weight = options.pop("weight", 1.0)
    # To Python True is the number 1; in a recipe `weight: true` is a mistake.
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not abs(weight) <= MOST_WEIGHT:
        raise ValueError(f"rule {entry.name!r}: weight is a number up to {MOST_WEIGHT:,}, not {weight!r}")
    return _Weighted(entry, function, float(weight), _checked(entry, options))


def _checked(entry: Entry[Rule], given: dict[str, Any]) -> dict[str, Any]:
    """The options with their declared types. Raises ValueError (or RegistryError) in one line."""
    known = entry.options
    hints = _hints(entry.load())
    checked = {}
    # By the annotations of the rule, as pydantic checks a field: "0.5" in quotes becomes a number, "half" is an error.
    for name, value in given.items():
        if name not in known:
            raise RegistryError(f"rule {entry.name!r} has no option {name!r}{did_you_mean(name, list(known))}")
        try:
            checked[name] = TypeAdapter(hints.get(name, Any)).validate_python(value)
        except ValidationError as error:
            said = str(error.errors()[0]["msg"])
            raise ValueError(
                f"rule {entry.name!r}: option {name} {said.replace('Input should', 'should')}, not {value!r}"
            ) from error
    missing = [name for name, default in known.items() if default is inspect.Parameter.empty and name not in given]
    if missing:
        raise ValueError(f"rule {entry.name!r} needs the option {missing[0]!r}: {{weight: 1.0, {missing[0]}: ..}}")
    return checked


@functools.cache
def _hints(function: Rule) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # annotations of a plug-in that name nothing are no reason to refuse it
        return {}
