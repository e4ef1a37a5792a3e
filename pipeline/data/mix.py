"""Several datasets in one training, their shares changing by phase.

Databricks changed the mix in the course of DBRX's training (2024), and upsampled domains at its end (Blakeney et al.
2024, "Does your data spark joy?", arXiv 2406.03476). Left out are shares that move within a phase.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contract.numbers import Probability, Weight
from pipeline.data.rows import Row, Rows


class MixPhase(BaseModel):
    """A part of a training, in which datasets have these shares."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: Probability = Field(gt=0, description="share of the steps at which the phase ends; 1.0 for the last")
    weights: dict[str, Weight] = Field(
        min_length=1, description="shares of the datasets, by their names in data; one left out is not read in it"
    )

    @model_validator(mode="after")
    def _check_weights(self) -> "MixPhase":
        if not sum(self.weights.values()):
            raise ValueError("weights needs one above 0")
        return self


def fault(phases: Sequence[MixPhase], names: Sequence[str]) -> str | None:
    """What is wrong with the phases of a mix of these datasets, in a line."""
    ends = [phase.until for phase in phases]
    if ends != sorted(set(ends)) or ends[-1] != 1:
        return f"mix: `until` rises from phase to phase, and is 1.0 in the last; it is {', '.join(map(str, ends))}"
    weighed = {name for phase in phases for name, weight in phase.weights.items() if weight}
    named = {name for phase in phases for name in phase.weights}
    if unknown := sorted(named - set(names)):
        return f"mix weighs {unknown[0]}, and data has {', '.join(names)}"
    if idle := sorted(set(names) - weighed):
        return f"mix reads no row of {idle[0]}: give it a weight in a phase, or take it out of data"
    return None


def shares(phases: Sequence[MixPhase]) -> dict[str, float]:
    """The share of each dataset in the rows of the whole training, to rounding."""
    total: dict[str, float] = defaultdict(float)
    begins = 0.0
    for phase in phases:
        for name, weight in phase.weights.items():
            total[name] += (phase.until - begins) * weight / sum(phase.weights.values())
        begins = phase.until
    return dict(total)


def apportioned(weights: Mapping[str, float], count: int) -> dict[str, int]:
    """`count` in whole parts that are as the weights: largest remainders are rounded up, of equal ones the first."""
    total = sum(map(Fraction, weights.values()))
    exact = {name: Fraction(weight) * count / total for name, weight in weights.items()}
    whole = {name: math.floor(part) for name, part in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: count - sum(whole.values())]:
        whole[name] += 1
    return whole


def drawn(phases: Sequence[MixPhase], steps: int, batch: int) -> Iterator[tuple[int, dict[str, int]]]:
    """Of each phase the step that it ends with, and how many rows of each dataset are in it."""
    begins = 0
    for phase in phases:
        ends = round(phase.until * steps)
        yield ends, apportioned(phase.weights, (ends - begins) * batch)
        begins = ends


def order_of(counts: Sequence[Mapping[str, int]], rng: random.Random) -> list[str]:
    """The dataset of each row, phase after phase, shuffled within each."""
    order: list[str] = []
    for phase in counts:
        names = [name for name, count in phase.items() for _ in range(count)]
        order += rng.sample(names, len(names))
    return order


class Mixed:
    """Rows of several datasets: `order` says which one each is of; a dataset's own are taken in their order."""

    def __init__(self, datasets: Mapping[str, Rows], order: Sequence[str]) -> None:
        self._datasets = datasets
        seen: Counter[str] = Counter()
        self._places: list[tuple[str, int]] = []
        for name in order:
            self._places.append((name, seen[name]))
            seen[name] += 1

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Row:
        name, place = self._places[index]
        return self._datasets[name][place]
