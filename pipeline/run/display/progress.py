"""What a person sees of a run: a live display on a terminal, plain lines anywhere else."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Protocol

from pipeline.run.display.figures import amount, duration, key_figures, time_left
from rewards.lazy import lazy
from rewards.terminal import one_line

with lazy:  # loads rich, which a run without a terminal has no use for
    from pipeline.run.display.live import LiveDisplay

_PLAIN_EVERY = 15.0  # seconds between two plain lines of one stage


class Display(Protocol):
    """Told what happens to the stages; `refresh` is called several times a second."""

    def started(self, stage: str, kind: str) -> None: ...
    def at_work(self, stage: str) -> None: ...
    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, object]) -> None: ...
    def note(self, stage: str, text: str) -> None: ...
    def finished(self, stage: str, seconds: float, metrics: Mapping[str, object]) -> None: ...
    def reused(self, stage: str, artifact: str) -> None: ...
    def failed(self, stage: str, message: str) -> None: ...
    def say(self, text: str) -> None: ...
    def refresh(self) -> None: ...
    def close(self) -> None: ...


def display(names: list[str]) -> Display:
    """The display that fits standard output, for a run of the stages in `names`."""
    # A dumb terminal knows none of the sequences that a moving display is drawn with.
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        return LiveDisplay(names)
    return PlainDisplay(names)


class PlainDisplay:
    """One line for each thing that happens, and one now and then for each running stage."""

    def __init__(self, names: list[str], *, every: float = _PLAIN_EVERY) -> None:
        self._width = max(map(len, names), default=0)
        self._began: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._every = every

    def started(self, stage: str, kind: str) -> None:
        self._began[stage] = self._told[stage] = time.monotonic()
        self._line(stage, f"starts ({kind})")

    def at_work(self, stage: str) -> None:
        self._began[stage] = time.monotonic()

    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, object]) -> None:
        now = time.monotonic()
        if now - self._told[stage] < self._every:
            return
        self._told[stage] = now
        left = time_left(done, total, now - self._began[stage])
        self._line(stage, "  ".join(filter(None, (f"{amount(done)}/{amount(total)}", key_figures(figures), left))))

    def note(self, stage: str, text: str) -> None:
        self._line(stage, text)

    def finished(self, stage: str, seconds: float, metrics: Mapping[str, object]) -> None:
        self._line(stage, f"done in {duration(seconds)}  {key_figures(metrics)}".rstrip())

    def reused(self, stage: str, artifact: str) -> None:
        self._line(stage, f"made before, reused ({artifact})")

    def failed(self, stage: str, message: str) -> None:
        self._line(stage, f"failed: {message}")

    def say(self, text: str) -> None:
        print(text, flush=True)

    def refresh(self) -> None:
        return

    def close(self) -> None:
        return

    def _line(self, stage: str, text: str) -> None:
        # What a stage says is one line, whatever is in it: no other line can be made to stand here.
        print(f"{stage:<{self._width}}  {one_line(text)}", flush=True)
