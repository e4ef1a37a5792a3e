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

    def __init__(self, stem: Path, place: int) -> None:
        """For the process at this place among those of the stage."""
        with stem.with_name(f"{stem.name}-{place}").open("w+b") as stream:
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


def files_of(stem: Path) -> list[Path]:
    """Those of all the processes of a stage; none where the folder went with the stage's end."""
    try:
        return sorted(stem.parent.glob(f"{stem.name}-*"))
    except FileNotFoundError:
        return []


def at_work(stem: Path) -> AtWork | None:
    """The call that is at work the longest in any process of a stage."""
    found = [call for file in files_of(stem) if (call := _read(file))]
    return max(found, key=lambda call: call.since, default=None)


def _read(file: Path) -> AtWork | None:
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
