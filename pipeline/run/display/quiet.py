"""The display of who wants to read errors alone."""

import sys

from pipeline.run.display.progress import Display
from rewards.terminal import one_line


class QuietDisplay(Display):
    """Tells on standard error which stage failed and why, and nothing else; the exit code tells the rest."""

    def failed(self, stage: str, message: str) -> None:
        print(f"{stage}  failed: {one_line(message)}", file=sys.stderr, flush=True)
