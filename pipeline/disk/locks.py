"""Locks that die with their holder: flock on a file that says who holds it and since when."""

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from pipeline.disk.durable import JsonMapping, JsonObject
from rewards.errors import RetortError


class Held(RetortError):
    """Another live process holds the lock. `holder` is what it wrote: pid, host, since (text), token."""

    def __init__(self, path: Path, holder: JsonMapping) -> None:
        self.holder = holder
        super().__init__(f"{path} is held by {describe(holder)}")


class Lock:
    """An exclusive lock on `path`, taken when made. The kernel gives it back when its process dies, however it dies.

    Raises Held. With `keep` the file stays behind when the lock is released; otherwise it goes too.
    """

    def __init__(self, path: Path, *, token: str = "", keep: bool = False) -> None:
        self.path, self._keep = path, keep
        self._stream = _take(path)
        self._stream.seek(0)
        # Only now, with the lock held: what the last holder wrote is told to who fails to get it.
        self._stream.truncate()
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S"),
                   "token": token}, self._stream)
        self._stream.flush()

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._stream.closed:
            return
        if not self._keep:
            # Before the lock is given back: who comes next finds no file, and makes one of its own.
            self.path.unlink(missing_ok=True)
        self._stream.close()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.release()


def holder(path: Path) -> JsonObject | None:
    """Who holds the lock now, or None. A file left behind by a dead process is no lock."""
    try:
        stream = path.open()
    except FileNotFoundError:
        return None
    with stream:
        try:
            # A shared lock can be had exactly when nobody holds the exclusive one.
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _written(stream)
    return None


def describe(who: JsonMapping) -> str:
    """`process 4711 on host since 2025-01-31 10:00:00`."""
    return f"process {who.get('pid', '?')} on {who.get('host', '?')} since {who.get('since', '?')}"


def _take(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        stream = path.open("a+")
        if not _locked(stream):
            found = _written(stream)
            stream.close()
            raise Held(path, found)
        # The last holder may have removed the file between our open and our lock; then ours is a lock on nothing.
        if path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
        stream.close()


def _locked(stream: IO[str]) -> bool:
    for _ in range(5):  # `holder` locks for a moment, which is no reason to give up
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _written(stream: IO[str]) -> JsonObject:
    stream.seek(0)
    try:
        found = json.loads(stream.read())
    except ValueError:  # its holder is about to write it
        return {}
    return found if isinstance(found, dict) else {}
