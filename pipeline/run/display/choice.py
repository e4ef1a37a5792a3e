"""Which display a run has: the one that was asked for, or a live one on a terminal and plain lines anywhere else."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from pipeline.run.display.json_log import JsonDisplay
from pipeline.run.display.progress import Display, PlainDisplay
from pipeline.run.display.quiet import QuietDisplay
from pipeline.run.display.verbose import VerboseDisplay
from rewards.lazy import lazy

with lazy:  # loads rich, which a run without a terminal has no use for
    from pipeline.run.display.live import LiveDisplay


class Asked(NamedTuple):
    """What a person has asked for. Who is quiet asks for nothing else."""

    verbose: bool = False
    quiet: bool = False
    json: bool = False


def display(names: list[str], asked: Asked, logs: Path) -> Display:
    """The display that was asked for, else the one that fits standard output, for a run of the stages in `names`
    whose logs lie in `logs`."""
    if asked.quiet:
        return QuietDisplay()
    shown = JsonDisplay() if asked.json else _fitting(names)
    return VerboseDisplay(shown, logs) if asked.verbose else shown


def _fitting(names: list[str]) -> Display:
    # A dumb terminal knows none of the sequences that a moving display is drawn with.
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        return LiveDisplay(names)
    return PlainDisplay(names)
