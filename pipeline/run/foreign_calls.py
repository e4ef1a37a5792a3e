"""Foreign code at work in a stage, as the runner sees it: a file that the stage's process writes in memory."""

import mmap
import struct
import time
from pathlib import Path
from typing import NamedTuple

_SIZE = 512
_HEAD = struct.Struct("dd")  # when it began, by its machine's clock (0: nothing is at work); its limit


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
    """A foreign call: what it is of, since how many seconds it is seen, and how long it may take."""

    what: str
    since: float
    most: float


def files_of(stem: Path) -> list[Path]:
    """Those of all the processes of a stage; none where the folder went with the stage's end."""
    try:
        return sorted(stem.parent.glob(f"{stem.name}-*"))
    except FileNotFoundError:
        return []


class Seen:
    """The calls at work in the processes of a stage, for whoever looks at them again and again."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem
        # By file: when the call there began, and when it was seen first. Machines count from when each was booted, so
        # that the former only tells calls apart, and time is taken by the clock of who looks.
        self._first: dict[Path, tuple[float, float]] = {}

    def at_work(self) -> AtWork | None:
        """The call that is at work the longest in any process of the stage."""
        found = [call for file in files_of(self._stem) if (call := self._read(file))]
        return max(found, key=lambda call: call.since, default=None)

    def _read(self, file: Path) -> AtWork | None:
        try:
            content = file.read_bytes()
        except OSError:  # the process has not begun, or the folder went with the stage's end
            return None
        if len(content) < _SIZE:
            return None
        began, most = _HEAD.unpack_from(content)
        if not began:
            return None
        now = time.monotonic()
        same, first = self._first.get(file, (0.0, 0.0))
        if same != began:
            self._first[file], first = (began, now), now
        return AtWork(content[_HEAD.size :].rstrip(b"\0").decode(errors="replace"), now - first, most)
