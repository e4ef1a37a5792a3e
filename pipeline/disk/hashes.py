"""Hashes of what was written, to know it again."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from pipeline.disk import durable

_SETTLED = 2.0
"""Seconds without a change after which what `stat` says of a file is trusted. The clock of a file system ticks up to
four milliseconds apart: two writes within one tick look alike."""

_MOST = 50_000  # files that are remembered


class FileHashes:
    """SHA-256 of files, each read once as long as `stat` says that it is the same: its inode and size, the times of
    its content and of its inode. The last of these no program can set.

    `memory` is a JSON file that keeps them for other processes and later ones. What cannot be kept there (a disk that
    is full, a folder of somebody else's) is read again the next time.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._known: dict[str, str] = {}
        self._new: dict[str, str] = {}
        self._read = 0
        self._read_memory()

    def of(self, file: Path) -> str:
        """SHA-256 of a file. Raises OSError."""
        remembered = self.remembered(file)
        if remembered:
            return remembered
        before = file.stat()
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if time.time() - max(before.st_mtime, before.st_ctime) > _SETTLED:
            self._known[_key(before)] = self._new[_key(before)] = found
        return found

    def remembered(self, file: Path) -> str | None:
        """SHA-256 of a file that was read before and was not touched since. Raises OSError."""
        key = _key(file.stat())
        if key not in self._known:
            self._read_memory()
        return self._known.get(key)

    def keep(self) -> None:
        """Write down what was found since the last time."""
        if self._memory is None or not self._new or not self._memory.parent.is_dir():
            return
        self._read_memory()  # another process may have written
        try:
            durable.write_json(self._memory, dict(list(self._known.items())[-_MOST:]))
        except OSError:  # nothing depends on what is remembered, and who writes artifacts will meet the same
            return
        self._new = {}

    def forget(self) -> None:
        """From here on every file is read again, whatever was remembered."""
        self._known, self._new, self._read = {}, {}, 0
        if self._memory is not None:
            self._memory.unlink(missing_ok=True)

    def _read_memory(self) -> None:
        if self._memory is None:
            return
        try:
            written = self._memory.stat().st_mtime_ns
            if written == self._read:
                return
            self._read = written
            found = json.loads(self._memory.read_bytes())
        except (OSError, ValueError, RecursionError):  # none yet, or torn: files are read again
            return
        if isinstance(found, dict):
            self._known = {**found, **self._new}


def _key(stat: os.stat_result) -> str:
    return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"


def file_hashes(folder: Path, manifest: str, hashes: FileHashes | None = None) -> dict[str, str]:
    """SHA-256 of every file under `folder` but its manifest, by relative path, sorted. Raises OSError."""
    hashes = hashes or FileHashes()
    return {file.relative_to(folder).as_posix(): hashes.of(file) for file in files_of(folder, manifest)}


def files_through_links(folder: Path) -> list[Path]:
    """Every file under `folder`, also in folders that links lead to, sorted. A link to a folder that it was reached
    through is not gone into again."""
    found: list[Path] = []
    waiting: list[tuple[Path, frozenset[Path]]] = [(folder, frozenset())]
    while waiting:
        at, through = waiting.pop()
        here = at.resolve()
        if here in through:
            continue
        with contextlib.suppress(PermissionError):  # what may not be looked at is used by nobody
            for path in at.iterdir():
                if path.is_dir():
                    waiting.append((path, through | {here}))
                elif path.is_file():
                    found.append(path)
    return sorted(found)


def files_of(folder: Path, manifest: str) -> list[Path]:
    """Every file under `folder` but its manifest, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / manifest)
