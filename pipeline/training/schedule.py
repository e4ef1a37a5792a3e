"""Learning rates over a stage, as factors of the peak."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Schedule:
    """Warm-up, then a cosine to `floor` over `steps`; then, where more is asked for, rounds of `more` steps each.

    A further round is a cosine too, from `restart` of the peak: training that was not enough goes on without being
    planned longer from the start, which would change every step of it.
    """

    steps: int
    more: int = 0
    warmup: int = 30
    floor: float = 0.1
    restart: float = 0.5
    rounds: int = 0

    @property
    def end(self) -> int:
        """The step that training ends at, as far as is known now."""
        return self.steps + self.rounds * self.more

    def __call__(self, step: int) -> float:
        if step < self.steps:
            # The first step has a rate already: at 0 it would be lost.
            warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
            return warm * self._cosine(step / self.steps, 1.0)
        return self._cosine((step - self.steps) % self.more / self.more if self.more else 1.0, self.restart)

    def _cosine(self, done: float, peak: float) -> float:
        return self.floor + (peak - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


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
