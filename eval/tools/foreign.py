"""Tools that are not ours, called in a process of their own: one that hangs, exits or crashes takes nothing along."""

import pickle
from pathlib import Path

from eval.errors import ToolError
from eval.tools.registry import Function
from rewards.frames import LATE, OK, UNUSABLE
from rewards.registry import Entry
from rewards.workers import Pool, Worker

SECONDS = 10.0
"""For one call."""

_processes = Pool(lambda: Worker(Path(__file__).parent / "process.py", search_path=True, trusted=True))


def apart(entry: Entry[Function]) -> Function:
    """The tool of this entry, called in another process. What it raises there is a RuntimeError here, of which a model
    is told. Raises ToolError where its file does not load or was edited since the run began, WorkerError
    where no process starts."""
    source = entry.source_hash() if entry.file else ""

    def call(**arguments: object) -> str:
        with _processes.worker() as process:
            status, answer = process.ask(pickle.dumps((entry, source, arguments)), SECONDS)
        if status == OK:
            return answer.decode(errors="replace")
        if status == UNUSABLE:
            raise ToolError(f"tool {entry.name!r}: {answer.decode(errors='replace')}")
        if status == LATE:
            raise TimeoutError(f"no answer within {SECONDS:g} seconds")
        raise RuntimeError(answer.decode(errors="replace") or "its process ended")

    return call


def close() -> None:
    """End the processes that nobody asks at the moment."""
    _processes.close()
