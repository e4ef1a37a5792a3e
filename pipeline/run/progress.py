"""What a person sees of a run: a live display on a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

_PLAIN_EVERY = 15.0  # seconds between two plain lines of one stage


class Display(Protocol):
    """Told what happens to the stages; `refresh` is called several times a second."""

    def started(self, stage: str, kind: str) -> None: ...
    def at_work(self, stage: str) -> None: ...
    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, Any]) -> None: ...
    def note(self, stage: str, text: str) -> None: ...
    def finished(self, stage: str, seconds: float, metrics: Mapping[str, Any]) -> None: ...
    def reused(self, stage: str, artifact: str) -> None: ...
    def failed(self, stage: str, message: str) -> None: ...
    def say(self, text: str) -> None: ...
    def refresh(self) -> None: ...
    def close(self) -> None: ...


def display(names: list[str]) -> Display:
    """The display that fits standard output, for a run of the stages in `names`."""
    if sys.stdout.isatty():
        from pipeline.run.live import LiveDisplay

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

    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if now - self._told[stage] < self._every:
            return
        self._told[stage] = now
        left = time_left(done, total, now - self._began[stage])
        self._line(stage, "  ".join(filter(None, (f"{amount(done)}/{amount(total)}", key_figures(figures), left))))

    def note(self, stage: str, text: str) -> None:
        self._line(stage, text)

    def finished(self, stage: str, seconds: float, metrics: Mapping[str, Any]) -> None:
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
        print(f"{stage:<{self._width}}  {text}", flush=True)


def duration(seconds: float) -> str:
    """`0.4s`, `38s`, `4m 05s`, `2h 07m`."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def time_left(done: float, total: float, seconds: float) -> str:
    """`about 40s left`, from the pace so far; empty while there is no telling."""
    if done <= 0 or total <= done or seconds < 1:
        return ""
    return f"about {duration(max(seconds * (total - done) / done, 10))} left"


def amount(number: float) -> str:
    """A count without a needless fraction: `1,200`, `0.5`."""
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def key_figures(metrics: Mapping[str, Any], most: int = 5) -> str:
    """`reward 0.71  accuracy 0.62`: the first few numbers and short texts."""
    shown = [f"{key} {_figure(value)}" for key, value in metrics.items()
             if isinstance(value, int | float | str) and len(str(value)) <= 40]
    return "  ".join(shown[:most])


def _figure(value: float | str) -> str:
    if isinstance(value, str | bool):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
