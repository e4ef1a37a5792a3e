"""The live display: finished stages scroll by as one line each, running ones stay at the bottom and move."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.run.figures import amount, duration, key_figures, time_left

_REFRESHES = 4  # a second


@dataclass
class _Running:
    kind: str
    began: float = field(default_factory=time.monotonic)
    done: float = 0.0
    total: float = 0.0
    figures: Mapping[str, object] = field(default_factory=dict)


class LiveDisplay:
    """One line for each running stage: name, bar, done/total, figures, time left; it never wraps."""

    def __init__(self, names: list[str], console: Console | None = None) -> None:
        self._width = max(map(len, names), default=0)
        self._left = len(names)
        self._began = time.monotonic()
        self._running: dict[str, _Running] = {}
        self._console = console or Console(highlight=False)
        # Drawn only by `refresh`, so that no thread draws while the runner starts a process.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._drawn = 0.0

    def started(self, stage: str, kind: str) -> None:
        self._running[stage] = _Running(kind)

    def at_work(self, stage: str) -> None:
        # The clock begins anew: until now libraries were loaded, which says nothing of the pace.
        self._running[stage].began = time.monotonic()

    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, object]) -> None:
        running = self._running[stage]
        running.done, running.total, running.figures = done, total, figures

    def note(self, stage: str, text: str) -> None:
        self._line(stage, Text(text, "yellow"), wrap=True)

    def finished(self, stage: str, seconds: float, metrics: Mapping[str, object]) -> None:
        self._end(stage)
        self._line(stage, Text.assemble(("done ", "green"), f"in {duration(seconds):<8}  {key_figures(metrics)}"))

    def reused(self, stage: str, artifact: str) -> None:
        self._end(stage)
        self._line(stage, Text.assemble(("reused ", "cyan"), (artifact, "dim")))

    def failed(self, stage: str, message: str) -> None:
        self._end(stage)
        self._line(stage, Text.assemble(("failed ", "bold red"), message), wrap=True)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def refresh(self) -> None:
        now = time.monotonic()
        if now - self._drawn >= 1 / _REFRESHES:
            self._drawn = now
            self._live.update(self._picture(), refresh=True)

    def close(self) -> None:
        self._running.clear()
        self._live.update(Text(""))
        self._live.stop()

    def _end(self, stage: str) -> None:
        self._running.pop(stage, None)
        self._left -= 1

    def _line(self, stage: str, text: Text, *, wrap: bool = False) -> None:
        line = Text.assemble((f"{stage:<{self._width}}  ", "bold"), text)
        if wrap:
            self._console.print(line, soft_wrap=True)
        else:
            self._console.print(line, no_wrap=True, overflow="ellipsis")

    def _picture(self) -> Text:
        lines = [self._running_line(name, stage) for name, stage in self._running.items()]
        waiting = self._left - len(self._running)
        foot = f"{duration(time.monotonic() - self._began)} so far" + (f", {waiting} stages to go" if waiting else "")
        lines.append(Text(foot, "dim"))
        for line in lines:
            line.truncate(max(self._console.width - 1, 1), overflow="ellipsis")
        return Text("\n").join(lines)

    def _running_line(self, name: str, stage: _Running) -> Text:
        elapsed = time.monotonic() - stage.began
        name_part = f"{name:<{self._width}}  "
        if not stage.total:
            return Text.assemble((name_part, "bold"), (f"{stage.kind}, starting  {duration(elapsed)}", "dim"))
        left = time_left(stage.done, stage.total, elapsed) or duration(elapsed)
        rest = f"  {amount(stage.done)}/{amount(stage.total)}  {key_figures(stage.figures)}  {left}"
        room = self._console.width - cell_len(name_part) - cell_len(rest) - 1
        bar = min(20, room)
        line = Text.assemble((name_part, "bold"))
        if bar >= 5:  # the bar is the first thing to go on a narrow terminal
            full = round(bar * min(stage.done / stage.total, 1.0))
            line.append("━" * full, "green").append("━" * (bar - full), "dim")
        return line.append(rest)
