"""What a reward function gave, as a number that a mean can be made of."""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import SupportsFloat

from rewards.errors import RetortError

LARGEST = 1e12
"""Of a value of a rule, in either direction: sums of such values and of their weights are finite."""


class RubricError(RetortError, RuntimeError):
    """A rule failed on a completion; the message names the rule and is one line."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a function of another library's convention says of a completion.

    `value` is None where the function does not apply. `parts` are further figures that it told of. `right` is what it
    says itself of the correctness, and `answer` the answer that it read, where it says so.
    """

    value: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    right: bool | None = None
    answer: str | None = None


def number(who: str, given: object) -> float:
    """`given` as a finite float: numbers, truth values, and arrays and tensors of one number. Raises RubricError, which
    names `who`."""
    # Text is refused though Python reads some as numbers: a rule that returns "0.5" has another mistake in it.
    if not isinstance(given, SupportsFloat):
        raise RubricError(f"{who} returned {reprlib.repr(given)}; a reward is a number")
    try:
        value = float(given)
    except Exception as error:  # an array of several numbers, 10**400, and anyone's own class
        raise RubricError(f"{who} returned {_line(reprlib.repr(given))}; a reward is a number") from error
    # A single NaN would make the mean of its group NaN, and with it the advantage of every rollout there.
    if not math.isfinite(value):
        raise RubricError(f"{who} returned {value}; a reward is a finite number")
    if abs(value) > LARGEST:
        raise RubricError(f"{who} returned {value}; a reward is a number up to {LARGEST:g}")
    return value


def failure(who: str, error: Exception | SystemExit) -> RubricError:
    """What a function raised, as an error in one line."""
    return RubricError(f"{who} failed: {type(error).__name__}: {_line(str(error))[:300]}")


def _line(text: str) -> str:
    return " ".join(text.split())
