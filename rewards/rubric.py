"""The rubric: credit for a correct verdict plus weighted rules. Its total is the reward, or None where nobody can
grade."""

import contextlib
import functools
import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

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

from rewards.conventions.remote import scoring_of
from rewards.conventions.scoring import Ask, Scoring
from rewards.foreign import calling
from rewards.registry import Entry, RegistryError, did_you_mean
from rewards.rules import RULES, Rule, check_shape
from rewards.scores import RubricError, Scored, failure, number
from rewards.types import Completion, Label, Problem, Verdict

__all__ = ["MOST_WEIGHT", "Reward", "Rubric", "RubricError"]

MOST_WEIGHT = 1_000_000
"""The largest reward of a correct verdict, and weight of a rule in either direction."""


@dataclass(frozen=True, slots=True)
class Reward:
    """`total` is None where nobody can tell: the verdict is UNGRADABLE, or verdicts count nothing and no rule applies.
    The rollout then leaves its group.

    `parts` holds what the total is made of, before weights: "correct" (1.0 or 0.0, or a share of tests) and the value
    of every rule that applies. What a function of another library tells of besides is there under its name and its own.
    """

    total: float | None
    parts: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Weighted:
    """A rule as it is used; `scoring` is what a function of another library has become, None for a rule of ours."""

    entry: Entry[Rule]
    rule: Rule
    weight: float
    options: dict[str, Any]
    scoring: Scoring | None = None

    @property
    def whole(self) -> bool:
        return self.scoring is not None and self.scoring.whole

    def values(self, name: str, ask: Ask) -> list[Scored]:
        """Raises RubricError in one line."""
        named = f"rule {name!r}, for problem {ask.problem.id!r},"
        with contextlib.nullcontext() if self.entry.origin == "built-in" else calling(named):
            if self.scoring:
                return self.scoring.score(ask)
            found = []
            for completion in ask.completions:
                try:
                    given = self.rule(ask.problem, completion, **self.options)
                except (Exception, SystemExit) as error:  # a rule may be anyone's code, which may call sys.exit
                    raise failure(named, error) from error
                found.append(Scored(number(named, given)))
            return found


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
    _names: dict[str, str] = PrivateAttr(default_factory=dict)

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
        self._names.update(_names(self._weighted))
        if wrong:  # each with the place of its rule, and all of them
            raise ValidationError.from_exception_data("Rubric", wrong)
        return self

    def score(self, problem: Problem, completion: Completion, verdict: Verdict) -> Reward:
        """The reward of one completion that stands alone. Raises RubricError where a rule raises or returns no finite
        number."""
        alone = self.alone(problem, completion, verdict)
        return self.together(Ask(problem, [completion]), [verdict], [alone])[0]

    def alone(self, problem: Problem, completion: Completion, verdict: Verdict) -> Reward:
        """The reward without the rules that want all completions of a problem at once. Raises as `score` does."""
        if self._is_void(verdict):
            return Reward(None, {})
        share = verdict.share if self.partial and verdict.label is Label.WRONG else None
        correct = 1.0 if verdict.correct else share or 0.0
        # Where verdicts count nothing, it is a reward only once a rule applies.
        reward = Reward(self.correct * correct if self.correct or not self.rules else None, {"correct": correct})
        for name, part in self._weighted.items():
            if not part.whole:
                [scored] = part.values(name, Ask(problem, [completion]))
                reward = self._with(reward, name, scored)
        return reward

    def together(self, ask: Ask, verdicts: Sequence[Verdict], alone: Sequence[Reward]) -> list[Reward]:
        """The rewards of completions of one problem, of which `alone` has the others' part, with the rules that want
        them at once. Raises as `score` does."""
        rewards = list(alone)
        for name, part in self._weighted.items():
            if part.whole:
                # What nobody can grade is shown to the function with the others, and gets nothing.
                scored = part.values(name, ask)
                rewards = [
                    reward if self._is_void(verdict) else self._with(reward, name, one)
                    for reward, verdict, one in zip(rewards, verdicts, scored, strict=True)
                ]
        return rewards

    @property
    def whole(self) -> bool:
        """Whether a rule wants all completions of a problem at once."""
        return any(part.whole for part in self._weighted.values())

    def require(self, problems: Iterable[Problem]) -> None:
        """Raises RubricError where a function of another library needs a column that one of the problems lacks."""
        scorings = [part.scoring for part in self._weighted.values() if part.scoring]
        for problem in problems if scorings else ():
            for scoring in scorings:
                scoring.require(problem)

    def weights(self, *, built_in: bool = True) -> dict[str, float]:
        """The weight of each rule, by its name in `Reward.parts`; with `built_in` false of those alone whose scale only
        their makers know."""
        return {
            self._names[name]: part.weight for name, part in self._weighted.items()
            if built_in or part.entry.origin != "built-in"
        }

    def _is_void(self, verdict: Verdict) -> bool:
        # Nobody knows whether it is right, and rules alone must not reward it, unless they alone are the reward.
        return verdict.label is Label.UNGRADABLE and self.correct > 0

    def _with(self, reward: Reward, rule: str, scored: Scored) -> Reward:
        if scored.value is None:
            return reward
        name = self._names[rule]
        told = {f"{name}/{part}": value for part, value in scored.parts.items()}
        total = (reward.total or 0.0) + self._weighted[rule].weight * scored.value
        return Reward(total, {**reward.parts, name: scored.value, **told})

    def plug_ins(self) -> list[Entry[Rule]]:
        """The rules in use; their `source_hash()` belongs in the fingerprint."""
        return [part.entry for part in self._weighted.values()]

def _weighted(reference: str, given: float | Mapping[str, Any], base: Path | None) -> _Weighted:
    entry = RULES.resolve(reference, base=base)
    options = dict(given) if isinstance(given, Mapping) else {"weight": given}
    weight = options.pop("weight", 1.0)
    # To Python True is the number 1; in a recipe `weight: true` is a mistake.
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not abs(weight) <= MOST_WEIGHT:
        raise ValueError(f"rule {entry.name!r}: weight is a number up to {MOST_WEIGHT:,}, not {weight!r}")
    function = entry.load()
    if entry.prefix:
        return _Weighted(entry, function, float(weight), options, scoring_of(entry, options))
    check_shape(function, entry.name, entry.reference)
    return _Weighted(entry, function, float(weight), _checked(entry, options))


def _names(weighted: Mapping[str, _Weighted]) -> dict[str, str]:
    """What each rule is called in parts: its own name, or the whole reference where another has that."""
    taken = Counter(part.entry.name for part in weighted.values()) + Counter(["correct"])
    return {
        reference: part.entry.name if taken[part.entry.name] == 1 else reference for reference, part in weighted.items()
    }


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
