"""The types of answers, beside the scalar (scalars.py) and the region (regions.py)."""

from dataclasses import dataclass

from rewards.maths.algebra import Ratio
from rewards.maths.regions import Region
from rewards.maths.scalars import Number


@dataclass(frozen=True, slots=True)
class Words:
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers.

    kind: "(" tuple or open interval, "⟨" vector, "[" list or closed interval, "{" set, ":" ratio, "or" alternatives, ""
    written bare.

    A ratio is kept by what its first part has to be multiplied with to give the others.
    """

    kind: str
    items: tuple["Answer", ...]


@dataclass(frozen=True, slots=True)
class Equation:
    """left - right = 0, or where `relation` says so < 0 or ≤ 0."""

    difference: Ratio
    relation: str = "="


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple["Answer", ...], ...]


@dataclass(frozen=True, slots=True)
class Clock:
    """Two numbers with a colon: a time of day where the second has two digits, a ratio otherwise."""

    first: int
    second: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """A value with the name of the quantity that has it (quantities.py)."""

    name: str
    value: "Answer"


@dataclass(frozen=True, slots=True)
class Choice:
    """The letter of a choice with the choice's text, which may be read in several ways or in none."""

    letter: str
    text: str
    readings: tuple["Answer", ...]


Answer = Number | Words | Group | Region | Equation | Matrix | Clock | Named | Choice
