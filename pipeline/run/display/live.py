"""The live display: finished stages scroll by as one line each, running ones stay at the bottom and move."""

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType, Segment
from rich.text import Text

from pipeline.run.display.figures import Pace, amount, duration, key_figures, share
from pipeline.run.display.progress import Display
from rewards.terminal import escaped, one_line, raw

_REFRESHES = 4  # a second

# The rest of this row, and, from the row below it, all others; the cursor is back in between. In one step from the
# first row of a screen on, tmux would take what is erased for something that was read, and keep it above.
_ERASE = Control(ControlType.CARRIAGE_RETURN)
_ERASE.segment = Segment("\r\x1b[K\x1b7\x1b[B\x1b[J\x1b8", None, [(ControlType.CARRIAGE_RETURN,)])


@dataclass
class _Running:
    kind: str
    pace: Pace = field(default_factory=Pace)
    figures: Mapping[str, object] = field(default_factory=dict)


class LiveDisplay(Display):
    """One line for each running stage: name, bar, done/total, figures, rate, time left; it never wraps.

    The lines are drawn here and not by rich's Live, which leaves the cursor below them and goes up as many rows as they
    were. A terminal that has become narrower breaks lines into more rows, and some would be left standing. Here the
    cursor waits at the start of the first line, from where everything below is erased, however many rows it is by then.
    """

    def __init__(self, names: list[str], console: Console | None = None) -> None:
        self._width = max(map(len, names), default=0)
        self._left = len(names)
        self._began = time.monotonic()
        self._running: dict[str, _Running] = {}
        # What is drawn has escape sequences of its own; what it is made of goes through `_text`.
        self._console = console or Console(highlight=False, file=raw(sys.stdout))
        # Drawn only by `refresh` and with a line, so that no thread draws while the runner starts a process.
        self._drawn_at = 0.0
        self._console.show_cursor(False)

    def started(self, stage: str, kind: str) -> None:
        self._running[stage] = _Running(kind)

    def at_work(self, stage: str) -> None:
        self._running[stage].pace.at_work()

    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, object]) -> None:
        running = self._running[stage]
        running.pace.told(done, total)
        running.figures = figures

    def note(self, stage: str, text: str) -> None:
        self._line(stage, (text, "yellow"), wrap=True)

    def log(self, stage: str, text: str) -> None:
        self._line(stage, (text, "dim"), wrap=True)

    def finished(self, stage: str, seconds: float, metrics: Mapping[str, object]) -> None:
        self._end(stage)
        self._line(stage, ("done ", "green"), (f"in {duration(seconds):<8}  {key_figures(metrics)}", ""))

    def reused(self, stage: str, artifact: str) -> None:
        self._end(stage)
        self._line(stage, ("reused ", "cyan"), (artifact, "dim"))

    def failed(self, stage: str, message: str) -> None:
        self._end(stage)
        self._line(stage, ("failed ", "bold red"), (message, ""), wrap=True)

    def say(self, text: str) -> None:
        self._scroll(Text(escaped(text)), wrap=True)

    def refresh(self) -> None:
        now = time.monotonic()
        if now - self._drawn_at >= 1 / _REFRESHES:
            self._drawn_at = now
            with self._console:  # one write, so that nothing flickers
                self._erase()
                self._draw()

    def close(self) -> None:
        self._running.clear()
        self._erase()
        self._console.show_cursor(True)

    def _end(self, stage: str) -> None:
        self._running.pop(stage, None)
        self._left -= 1

    def _line(self, stage: str, *parts: tuple[str, str], wrap: bool = False) -> None:
        self._scroll(_text((f"{stage:<{self._width}}  ", "bold"), *parts), wrap=wrap)

    def _scroll(self, text: Text, *, wrap: bool) -> None:
        """Print what stays, above the running lines."""
        with self._console:
            self._erase()
            if wrap:
                self._console.print(text, soft_wrap=True)
            else:
                self._console.print(text, no_wrap=True, overflow="ellipsis")
            self._draw()

    def _erase(self) -> None:
        self._console.control(_ERASE)

    def _draw(self) -> None:
        if not self._running and not self._left:
            return
        lines = list(self._picture())
        self._console.print(Text("\n").join(lines), end="", soft_wrap=True)
        up = [(ControlType.CURSOR_UP, len(lines) - 1)] if len(lines) > 1 else []
        self._console.control(Control(ControlType.CARRIAGE_RETURN, *up))

    def _picture(self) -> Iterator[Text]:
        waiting = self._left - len(self._running)
        foot = f"{duration(time.monotonic() - self._began)} so far" + (f", {waiting} stages to go" if waiting else "")
        lines = [self._running_line(name, stage) for name, stage in self._running.items()]
        # More lines than the terminal has would scroll out of reach of the cursor.
        for line in [*lines[: max(self._console.height - 2, 0)], Text(foot, "dim")]:
            line.truncate(max(self._console.width - 1, 1), overflow="ellipsis")
            yield line

    def _running_line(self, name: str, stage: _Running) -> Text:
        pace = stage.pace
        name_part = f"{one_line(name):<{self._width}}  "
        if not pace.total:
            return _text((name_part, "bold"), (f"{stage.kind}, starting  {duration(pace.elapsed)}", "dim"))
        left = pace.line or duration(pace.elapsed)
        rest = one_line(f"  {amount(pace.done)}/{amount(pace.total)}  {key_figures(stage.figures)}  {left}")
        room = self._console.width - cell_len(name_part) - cell_len(rest) - 1
        bar = min(20, room)
        line = Text(name_part, "bold", end="")
        if bar >= 5:  # the bar is the first thing to go on a narrow terminal
            full = round(bar * share(pace.done, pace.total))
            line = Text.assemble(line, ("━" * full, "green"), ("━" * (bar - full), "dim"))
        return Text.assemble(line, rest)


def _text(*parts: tuple[str, str]) -> Text:
    """Each part harmless and in its style. Stages, plug-ins and models say what they like."""
    return Text.assemble(*((one_line(text), style) for text, style in parts))
