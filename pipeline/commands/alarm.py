"""Ends a command whose plug-in or chat template does not return."""

import os
import signal
import sys
from types import FrameType

from rewards import terminal


class Alarm:
    """A watch (see `rewards.foreign`) that says in one line what has taken too long, and leaves.

    Leaves and does not raise: the call may be another thread's, which nobody can end, and for which Python would wait.
    What a command has made so far is on disk.
    """

    def __init__(self) -> None:
        self._what, self._seconds = "", 0.0
        signal.signal(signal.SIGALRM, self._leave)

    def began(self, what: str, seconds: float) -> None:
        self._what, self._seconds = what, seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def ended(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        line = f"retort: {self._what} has not returned after {self._seconds:.0f} seconds"
        print(terminal.one_line(line), file=sys.stderr, flush=True)
        os._exit(1)
