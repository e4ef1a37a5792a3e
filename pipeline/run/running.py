"""A stage at work, as the runner sees it: its process, what it tells, and why it ended."""

import re
import shutil
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.contract import fields
from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.recipe.recipe import Step
from pipeline.run.foreign_calls import Seen
from pipeline.run.launch import StageProcess

_FULL = 2**16
"""Free bytes of a disk below which a stage that ended is taken to have ended for that."""
_OUT_OF_MEMORY = re.compile("OutOfMemoryError|MemoryError|can't allocate memory")
"""Of a GPU, of Python and of torch on a processor."""
_KILLED = re.compile(rb"exitcode\s*: -9 \(pid")
"""How torch's launcher tells in the log that the first of its processes to end was killed."""
_TAIL = 2**16
"""Bytes of a log's end that are looked at."""


@dataclass
class Running:
    """A stage at work. `unread` is the byte up to which its events were read, `told` the foreign call
    that was told to take long, `logged` the byte from which the log is this attempt's, `began` a time of
    `time.monotonic`."""

    step: Step
    locks: ExitStack
    process: StageProcess
    events: Path
    log: Path
    calls: Seen
    unread: int = 0
    failure: JsonObject | None = None
    done: JsonObject | None = None
    told: str = ""
    logged: int = 0
    began: float = field(default_factory=time.monotonic)

    def unread_events(self) -> list[JsonObject]:
        """The events that were written whole since this was last asked."""
        if not self.events.exists():
            return []
        with self.events.open("rb") as stream:
            stream.seek(self.unread)
            *lines, _ = stream.read().split(b"\n")  # the last part is no whole line yet, or empty
        self.unread += sum(len(line) + 1 for line in lines)
        return [durable.row(line) for line in lines]

    def why(self, code: int, folder: Path) -> str:
        """Why the process ended with this code, in one line; `folder` is where the run is."""
        # Libraries have many words for a full disk, and writing down that it was one needs room, too.
        if shutil.disk_usage(folder).free < _FULL:
            return f"No space left on device: free some for {folder.parent}; what was finished is kept"
        if self.failure is None:
            code = -signal.SIGKILL if self._one_was_killed() else code
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            killed = code == -signal.SIGKILL
            hint = " (out of memory?)" if killed else ""
            return f"its process {how}{hint}; see {self.log}{self._with_less() if killed else ''}"
        message = str(self.failure["message"])
        if self.failure["expected"]:
            return message
        if self._one_was_killed():  # which the others, who waited for it, tell in their way
            message = f"{message}; before it a process was ended by SIGKILL (out of memory?)"
        elif not _OUT_OF_MEMORY.search(message):
            return f"{message}; the traceback is in {self.log}"
        return f"{message}; the traceback is in {self.log}{self._with_less()}"

    def _one_was_killed(self) -> bool:
        """Whether one of several processes was, and no other had ended before it."""
        if not self.log.exists():
            return False
        with self.log.open("rb") as stream:
            stream.seek(max(self.logged, self.log.stat().st_size - _TAIL))
            return _KILLED.search(stream.read()) is not None

    def _with_less(self) -> str:
        """What to do where memory ran out."""
        names = " or ".join(fields.of_checkpoints(type(self.step.config)))
        more = f", and `retort run --inexact` goes on from its checkpoint with another {names}" if names else ""
        return f"; `retort plan` says what would fit{more}"
