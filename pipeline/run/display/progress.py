"""What a display is told of a run, and the plain one: a line for each thing that happens."""

import time
from collections.abc import Mapping

from pipeline.run.display.figures import Pace, amount, duration, key_figures
from rewards.terminal import one_line

_PLAIN_EVERY = 30.0  # seconds between two plain lines of one stage


class Display:
    """Told what happens to the stages; this one shows nothing of it."""

    def started(self, stage: str, kind: str) -> None:
        """The process of a stage was asked for."""

    def at_work(self, stage: str) -> None:
        """The stage begins: until now libraries were loaded."""

    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, object]) -> None:
        """The stage is so far, and has these figures of the moment."""

    def note(self, stage: str, text: str) -> None:
        """The stage has something to say to a person."""

    def log(self, stage: str, text: str) -> None:
        """The stage, or a library in it, has written a line into its log."""

    def finished(self, stage: str, seconds: float, metrics: Mapping[str, object]) -> None:
        """The stage has made its artifact."""

    def reused(self, stage: str, artifact: str) -> None:
        """The stage's artifact was made before."""

    def failed(self, stage: str, message: str) -> None:
        """The stage has ended without an artifact."""

    def say(self, text: str) -> None:
        """The run has something to say, which is of no stage."""

    def refresh(self) -> None:
        """Called several times a second, for displays that move."""

    def close(self) -> None:
        """No stage runs any more. What the run says is still told."""

    def ended(self, code: int) -> None:
        """The command ends with this exit code."""


class PlainDisplay(Display):
    """One line for each thing that happens, and one now and then for each running stage."""

    def __init__(self, names: list[str], *, every: float = _PLAIN_EVERY) -> None:
        self._width = max(map(len, names), default=0)
        self._paces: dict[str, Pace] = {}
        self._told: dict[str, float] = {}
        self._every = every

    def started(self, stage: str, kind: str) -> None:
        self._paces[stage], self._told[stage] = Pace(), time.monotonic()
        self._line(stage, f"starts ({kind})")

    def at_work(self, stage: str) -> None:
        self._paces[stage].at_work()

    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, object]) -> None:
        now, pace = time.monotonic(), self._paces[stage]
        pace.told(done, total)
        if now - self._told[stage] < self._every:
            return
        self._told[stage] = now
        parts = f"{amount(done)}/{amount(total)}", key_figures(figures), pace.line
        self._line(stage, "  ".join(filter(None, parts)))

    def note(self, stage: str, text: str) -> None:
        self._line(stage, text)

    def log(self, stage: str, text: str) -> None:
        self._line(stage, text)

    def finished(self, stage: str, seconds: float, metrics: Mapping[str, object]) -> None:
        self._line(stage, f"done in {duration(seconds)}  {key_figures(metrics)}".rstrip())

    def reused(self, stage: str, artifact: str) -> None:
        self._line(stage, f"made before, reused ({artifact})")

    def failed(self, stage: str, message: str) -> None:
        self._line(stage, f"failed: {message}")

    def say(self, text: str) -> None:
        print(text, flush=True)

    def _line(self, stage: str, text: str) -> None:
        # What a stage says is one line, whatever is in it: no other line can be made to stand here.
        print(f"{stage:<{self._width}}  {one_line(text)}", flush=True)
