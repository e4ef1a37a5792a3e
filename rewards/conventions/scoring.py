"""What a function of another library's convention becomes here, and what is the same for all of them."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rewards.registry import RegistryError, did_you_mean
from rewards.scores import RubricError, Scored
from rewards.types import Completion, Problem

GOLD = ("answer", "solution", "ground_truth")
"""Names under which data sets keep what is right: a problem's answer is offered under all of them."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Completions of one problem, to be scored. `step` counts the rounds of a training, from 0."""

    problem: Problem
    completions: Sequence[Completion]
    step: int = 0


@dataclass(frozen=True)
class Scoring:
    """A function as it is asked here; `score` raises RubricError, which names it, in one line.

    `whole` says that it wants all completions of a problem at once: it compares them, or waits for all of them
    together. `needs` are the columns of a data set that it cannot do without.
    """

    who: str
    score: Callable[[Ask], list[Scored]]
    whole: bool
    needs: Sequence[str] = ()

    def require(self, problem: Problem) -> None:
        """Raises RubricError where the problem does not have a column that the function needs."""
        there = columns(problem)
        for name in self.needs:
            if name not in there:
                raise RubricError(
                    f"{self.who} needs the column {name!r}, which problem {problem.id!r} does not have"
                    f"{did_you_mean(name, list(there))}; `mine.jsonl?meta=*` keeps every column of a file"
                )


def columns(problem: Problem) -> dict[str, object]:
    """A row of the problem's data set, by the names of its columns. Copied: a function may change what it is given."""
    return {**dict.fromkeys(GOLD, problem.answer), **copy.deepcopy(dict(problem.meta))}


def prompt_messages(problem: Problem) -> list[dict[str, object]]:
    """The problem's prompt as a conversation: as its row had it, or as a user's turn."""
    told = problem.meta.get("prompt")
    if isinstance(told, list):
        return copy.deepcopy(told)
    return [{"role": "user", "content": problem.prompt}]


def answer_messages(completion: Completion) -> list[dict[str, object]]:
    """A completion as the turn of a conversation."""
    return [{"role": "assistant", "content": completion.text}]


def form_hint(error: Exception | SystemExit, *, messages: bool) -> str:
    """Which form a function was given, where it raised what comes of the other."""
    said = str(error)
    of_form = isinstance(error, AttributeError) and said.startswith(("'str' object", "'list' object", "'dict' object"))
    # A wrong call has another reason: f() missing 1 required positional argument.
    of_type = isinstance(error, TypeError) and "required" not in said and "unexpected" not in said
    if not of_form and not of_type:
        return ""
    return (
        "; it was given messages, and conversational: false gives it texts" if messages
        else "; it was given texts, and conversational: true gives it messages"
    )


def flag(options: dict[str, object], name: str, who: str) -> bool | None:
    """Takes an option out of `options` that is true or false; None where it is not there. Raises RegistryError."""
    value = options.pop(name, None)
    if value is not None and not isinstance(value, bool):
        raise RegistryError(f"{who}: {name} is true or false, not {value!r}")
    return value


def check_options(options: Mapping[str, object], known: Sequence[str], who: str) -> None:
    """Raises RegistryError for an option that is not among `known`."""
    for name in options:
        if name not in known:
            raise RegistryError(f"{who} has no option {name!r}{did_you_mean(name, known)}")
