"""How times, counts and metrics are told to a person, in a display and in reports."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


def duration(seconds: float) -> str:
    """`0.4s`, `38s`, `4m 05s`, `2h 07m`; `?` for what is no time."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


@dataclass
class Pace:
    """How fast a stage is, from what it says of itself. It is measured from the first that it says: a stage that goes
    on from a checkpoint says that it is half done, and has done nothing yet."""

    began: float = field(default_factory=lambda: time.monotonic())
    first: float = 0.0
    done: float = 0.0
    total: float = 0.0
    since: float | None = None

    def at_work(self) -> None:
        """The clock begins anew: until now libraries were loaded, which says nothing of the pace."""
        self.began = time.monotonic()

    def told(self, done: float, total: float) -> None:
        """Take what a stage says of how far it is."""
        if self.since is None or done < self.done:  # or another part of it begins
            self.first, self.since = done, time.monotonic()
        self.done, self.total = done, total

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @property
    def line(self) -> str:
        """`3.4/s  about 40s left`; empty while there is no telling."""
        if self.since is None:
            return ""
        made, seconds = self.done - self.first, time.monotonic() - self.since
        left = time_left(made, self.total - self.first, seconds)
        return "  ".join(filter(None, (rate(made, seconds), left)))


def rate(made: float, seconds: float) -> str:
    """`3.4/s`, or `12/min` where it is less than one a second; empty while there is no telling."""
    if not 0 < made < math.inf or seconds < 1:
        return ""
    pace = made / seconds
    return f"{_short(pace)}/s" if pace >= 1 else f"{_short(pace * 60)}/min"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def time_left(done: float, total: float, seconds: float) -> str:
    """`about 40s left`, from the pace so far; empty while there is no telling."""
    if not 0 < done < total < math.inf or seconds < 1:
        return ""
    # Ten seconds at least: a countdown of seconds from a pace that varies would only jump.
    return f"about {duration(max(seconds * (total - done) / done, 10))} left"


def share(done: float, total: float) -> float:
    """How much is done, from 0 to 1; 0 where there is no telling."""
    return min(max(done / total, 0.0), 1.0) if total > 0 and math.isfinite(done / total) else 0.0


def amount(number: float) -> str:
    """A count without a needless fraction: `1,200`, `0.5`."""
    if not math.isfinite(number):
        return str(number)
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def key_figures(metrics: Mapping[str, object], most: int = 5) -> str:
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
