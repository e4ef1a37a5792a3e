"""Learning rates over a stage, as factors of the stage's `learning_rate`, called the peak."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.training.learning import RateSchedule

Shape = Literal["cosine", "linear", "constant", "wsd"]

DECAY = 0.2
"""Share of the steps in which the rate of `wsd` falls, where a recipe says nothing."""


@dataclass
class Schedule:
    """`shape` (see `learning.RateSchedule`) from the peak to `floor` over `steps`, multiplied by a warm-up; then, where
    more is asked for, rounds of `more` steps each.

    The shape begins at step 0, and not behind the warm-up: a cosine or a line does not reach the peak.

    A further round is a cosine too, from `restart` of the peak: training that was not enough goes on without being
    planned longer from the start, which would change every step of it. The warm-up counts from `first`: 1 gives the
    first step a rate already, 0 makes it one at no rate, as transformers' schedules do.
    """

    steps: int
    more: int = 0
    warmup: int = 30
    floor: float = 0.1
    restart: float = 0.5
    rounds: int = 0
    shape: Shape = "cosine"
    decay: float = DECAY
    first: Literal[0, 1] = 1

    @property
    def end(self) -> int:
        """The step that training ends at, as far as is known now."""
        return self.steps + self.rounds * self.more

    def __call__(self, step: int) -> float:
        if step < self.steps:
            warm = min(1.0, (step + self.first) / self.warmup) if self.warmup else 1.0
            return warm * self._shaped(step / self.steps)
        return self._cosine((step - self.steps) % self.more / self.more if self.more else 1.0, self.restart)

    def _shaped(self, done: float) -> float:
        """The rate, as a share of the peak, when so much of the steps is done."""
        if self.shape == "cosine":
            return self._cosine(done, 1.0)
        if self.shape == "constant":
            return 1.0
        falling = done if self.shape == "linear" else max(0.0, (done - 1 + self.decay) / self.decay)
        return 1.0 - (1.0 - self.floor) * falling

    def _cosine(self, done: float, peak: float) -> float:
        return self.floor + (peak - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


def schedule_of(
    wanted: RateSchedule, steps: int, warmup: int, shape: Shape = "cosine", first: Literal[0, 1] = 1
) -> Schedule:
    """The schedule that a recipe wants for so many steps, with `warmup` steps and `shape` where it says nothing."""
    shape = wanted.shape or shape
    if wanted.warmup is not None:
        warmup = round(wanted.warmup * steps)
    elif wanted.warmup_steps is not None:
        warmup = wanted.warmup_steps
    floor = wanted.floor if wanted.floor is not None else 0.0 if shape == "wsd" else 0.1
    # A decay over no step at all is none.
    decay = max(DECAY if wanted.decay is None else wanted.decay, 1 / steps)
    return Schedule(steps, warmup=warmup, floor=floor, shape=shape, decay=decay, first=first)


@dataclass
class Phased:
    """Schedules one after the other, each from its own warm-up on; there are no further rounds."""

    phases: Sequence[Schedule]
    rounds: int = 0

    @property
    def end(self) -> int:
        """The step that training ends at."""
        return sum(phase.steps for phase in self.phases)

    def __call__(self, step: int) -> float:
        for phase in self.phases[:-1]:
            if step < phase.steps:
                return phase(step)
            step -= phase.steps
        return self.phases[-1](step)
