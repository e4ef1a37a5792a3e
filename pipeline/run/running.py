"""A stage at work, as the runner sees it: its process, what it tells, and why it ended."""

import re
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.contract import fields
from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.disk.locks import Lock
from pipeline.recipe.recipe import Step
from pipeline.run.foreign_calls import AtWork, at_work
from pipeline.run.launch import StageProcess

_FULL = 2**16
"""Free bytes of a disk below which a stage that ended is taken to have ended for that."""
_OUT_OF_MEMORY = re.compile("OutOfMemoryError|MemoryError|can't allocate memory")
"""Of a GPU, of Python and of torch on a processor."""


@dataclass
class Running:
    """A stage at work. `unread` is the byte up to which its events were read, `told` the foreign call
    that was told to take long, `began` a time of `time.monotonic`."""

    step: Step
    lock: Lock
    process: StageProcess
    events: Path
    log: Path
    calls: Path
    unread: int = 0
    failure: JsonObject | None = None
    done: JsonObject | None = None
    told: str = ""
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

    def at_work(self) -> AtWork | None:
        """The call of foreign code that the stage waits for, if there is one."""
        return at_work(self.calls)

    def why(self, code: int, folder: Path) -> str:
        """Why the process ended with this code, in one line; `folder` is where the run is."""
        # Libraries have many words for a full disk, and writing down that it was one needs room, too.
        if shutil.disk_usage(folder).free < _FULL:
            return f"No space left on device: free some for {folder.parent}; what was finished is kept"
        if self.failure is None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            killed = code == -signal.SIGKILL
            hint = " (out of memory?)" if killed else ""
            return f"its process {how}{hint}; see {self.log}{self._with_less() if killed else ''}"
        message = str(self.failure["message"])
        if self.failure["expected"]:
            return message
        hint = self._with_less() if _OUT_OF_MEMORY.search(message) else ""
        return f"{message}; the traceback is in {self.log}{hint}"

    def _with_less(self) -> str:
        """What to do where memory ran out."""
        names = " or ".join(fields.of_checkpoints(type(self.step.config)))
        more = f", and `retort run --inexact` goes on from its checkpoint with another {names}" if names else ""
        return f"; `retort plan` says what would fit{more}"
