"""Foreign code at work in a stage, as the runner sees it: a file that the stage's process writes in memory."""

import mmap
import struct
import time
from pathlib import Path
from typing import NamedTuple

_SIZE = 512
_HEAD = struct.Struct("dd")  # when it began, of the clock that all processes share (0: nothing is at work); its limit


class ForeignCalls:
    """A watch (see `rewards.foreign`) that writes what is at work into a small file in shared memory."""

    def __init__(self, file: Path) -> None:
        with file.open("w+b") as stream:
            stream.truncate(_SIZE)
            self._shared = mmap.mmap(stream.fileno(), _SIZE)

    def began(self, what: str, seconds: float) -> None:
        text = what.encode(errors="replace")[: _SIZE - _HEAD.size]
        self._shared[_HEAD.size :] = text.ljust(_SIZE - _HEAD.size, b"\0")
        self._shared[: _HEAD.size] = _HEAD.pack(time.monotonic(), seconds)

    def ended(self) -> None:
        self._shared[: _HEAD.size] = _HEAD.pack(0.0, 0.0)


class AtWork(NamedTuple):
    """A foreign call: what it is of, since how many seconds, and how long it may take."""

    what: str
    since: float
    most: float


def at_work(file: Path) -> AtWork | None:
    """What the file says."""
    try:
        content = file.read_bytes()
    except OSError:  # the process has not begun, or the folder went with the stage's end
        return None
    if len(content) < _SIZE:
        return None
    began, most = _HEAD.unpack_from(content)
    if not began:
        return None
    return AtWork(content[_HEAD.size :].rstrip(b"\0").decode(errors="replace"), time.monotonic() - began, most)
