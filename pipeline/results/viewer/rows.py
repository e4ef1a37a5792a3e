"""The rollouts that a run kept: a light index of all of them, and each whole one when it is asked for."""

import contextlib
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.results.viewer.files import KeptFile, kept_files
from pipeline.results.viewer.shape import light, whole
from pipeline.store.run_folder import RunFolder

MOST_ROW = 2**24
"""Bytes of a row. A longer one is no rollout that anybody reads, and is left out."""

MOST_UNPACKED = 2**28
"""Bytes that are unpacked of a packed file, which may be made to fill any memory."""

_CHUNK = 2**20

Stamp = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """Where a row lies: its file, and the first byte and the number of bytes in what the file holds unpacked."""

    kept: KeptFile
    start: int
    size: int


@dataclass(frozen=True)
class Index:
    """Light rows in the order of stages, steps and models, and how many rows were left out because they are torn or no
    rollouts."""

    rows: list[JsonObject]
    left_out: int


@dataclass
class _Listed:
    """What was found in one file when it had this stamp."""

    stamp: Stamp
    rows: list[JsonObject] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    left_out: int = 0


class Rollouts:
    """The rollouts of a run, or of one of its stages. Several threads may read at once.

    Files are data from anywhere: whatever is no whole rollout is left out and counted.
    """

    def __init__(self, run: RunFolder, stage: str = "") -> None:
        self.run, self.stage = run, stage
        self._lock = Lock()
        self._listed: dict[Path, _Listed] = {}
        self._places: dict[str, Place] = {}

    def stages(self) -> list[str]:
        """Names of the run's stages that have kept rollouts."""
        return list(dict.fromkeys(kept.stage for kept in kept_files(self.run)))

    def index(self) -> Index:
        """Everything that is there now. A file that has not changed since it was last read is not read again."""
        with self._lock:
            listed = []
            for kept in kept_files(self.run):
                if self.stage not in ("", kept.stage):
                    continue
                before, stamp = self._listed.get(kept.file), _stamp(kept.file)
                if before is None or before.stamp != stamp:
                    before = self._listed[kept.file] = _list(kept, stamp)
                listed.append(before)
            rows = [row for one in listed for row in one.rows]
            places = (place for one in listed for place in one.places)
            self._places = {row["id"]: place for row, place in zip(rows, places, strict=True)}
            return Index(rows, sum(one.left_out for one in listed))

    def row(self, name: str) -> JsonObject | None:
        """The whole row of this id; None where `index` found none, or where its file was changed since."""
        place = self._places.get(name)
        found = _read(place) if place else None
        return None if found is None else {"id": name, **found}

    def size(self, name: str) -> int:
        """Bytes of a row that is in the index, as it lies in its file."""
        return self._places[name].size

    def whole(self, names: Iterable[str]) -> Iterator[JsonObject]:
        """The whole rows of these ids in the order of the index, in which each file is read once."""
        wanted = set(names)
        for name in [name for name in self._places if name in wanted]:
            row = self.row(name)
            if row is not None:
                yield row


def _list(kept: KeptFile, stamp: Stamp) -> _Listed:
    found = _Listed(stamp)
    # An id says nothing of what a path is called, and stays the same while further files come.
    name = hashlib.blake2b(f"{kept.stage}/{kept.file.name}".encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    number = 0
    if _is_packed(kept.file):
        found.left_out += not _unpacked(kept.file, stamp).whole
    for start, line in _lines(kept.file, stamp):
        if not line.strip():
            continue
        row = light(durable.row(line), kept) if len(line) <= MOST_ROW else None
        if row is None:
            found.left_out += 1
            continue
        number += 1
        found.rows.append({**row, "id": f"{name}-{number}"})
        found.places.append(Place(kept, start, len(line)))
    return found


def _lines(file: Path, stamp: Stamp) -> Iterator[tuple[int, bytes]]:
    """Each line with the place where it starts; of a line that is too long as much as shows that it is."""
    start = 0
    if _is_packed(file):
        for line in _unpacked(file, stamp).lines():
            yield start, line
            start += len(line) + 1
        return
    with contextlib.suppress(OSError), file.open("rb") as stream:  # `retort clean` may have removed it
        while line := stream.readline(MOST_ROW + 1):
            size, ended = len(line), line.endswith(b"\n")
            yield start, line
            while not ended and (more := stream.readline(_CHUNK)):
                size, ended = size + len(more), more.endswith(b"\n")
            start += size


def _read(place: Place) -> JsonObject | None:
    file = place.kept.file
    try:
        if _is_packed(file):
            line = _unpacked(file, _stamp(file)).content[place.start : place.start + place.size]
        else:
            with file.open("rb") as stream:
                stream.seek(place.start)
                line = stream.read(place.size)
    except OSError:  # `retort clean` may have removed it
        return None
    return whole(durable.row(line), place.kept)


def _stamp(file: Path) -> Stamp:
    """What changes when a file does, as far as its folder tells."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _is_packed(file: Path) -> bool:
    return file.suffix == ".gz"


@dataclass(frozen=True)
class _Unpacked:
    """What a packed file holds, up to the place where it is damaged or too long."""

    content: bytes
    whole: bool

    def lines(self) -> list[bytes]:
        """The lines, but for one that the damage has torn: that the file is not whole is told already."""
        lines = self.content.split(b"\n")
        return lines if self.whole else lines[:-1]


@lru_cache(maxsize=4)
def _unpacked(file: Path, stamp: Stamp) -> _Unpacked:  # noqa: ARG001  # another stamp is another content
    parts: list[bytes] = []
    size = 0
    try:
        with gzip.open(file) as stream:
            while part := stream.read1(_CHUNK):
                parts.append(part)
                size += len(part)
                if size > MOST_UNPACKED:
                    return _Unpacked(b"".join(parts), whole=False)
    except (EOFError, OSError, zlib.error):  # cut off, no gzip file at all, or damaged inside
        return _Unpacked(b"".join(parts), whole=False)
    return _Unpacked(b"".join(parts), whole=True)
