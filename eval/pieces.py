"""Rollouts kept as they are finished, piece by piece, so that a stopped evaluation goes on where it was."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any  # JSON
from urllib.parse import quote

from rewards.types import Completion, Label, Verdict

Graded = tuple[Completion, Verdict]

_LONGEST = 180  # bytes
WAIT = 0.2  # seconds between two looks for another process's piece


class Pieces:
    """Pieces of graded rollouts under a folder, a file each: there and whole, or not there.

    What a piece holds is known by its name alone: whoever asks for "long-needle:test-0003" has to ask for the same
    thing each time. Several processes that see the folder may share the work: `among` of them go through the same
    pieces in the same order, each makes those that fall to its `place`, and all can read all.
    """

    def __init__(self, folder: Path, place: int = 0, among: int = 1) -> None:
        self.folder, self.place, self.among = folder, place, among
        self._passed = 0

    def take_turn(self) -> bool:
        """Goes on to the next piece, and says whether that one falls to this process: they are dealt out in turn."""
        self._passed += 1
        return (self._passed - 1) % self.among == self.place

    def wait_for(self, name: str) -> list[Graded]:
        """The piece of this name, as soon as the process that it falls to has made it."""
        while (found := self.get(name)) is None:
            time.sleep(WAIT)
        return found

    def get(self, name: str) -> list[Graded] | None:
        """The piece of this name; None where it is not there, or not what was written."""
        try:
            text, _, digest = self._path(name).read_text(encoding="utf-8").rstrip("\n").rpartition("\n")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        # A rename shows a file whole or not at all, but not what a disk made of its blocks after a crash.
        if _digest(text) != digest:
            return None
        return [_read(json.loads(line)) for line in text.split("\n")]

    def put(self, name: str, graded: Sequence[Graded]) -> None:
        """Keep a piece."""
        text = "\n".join(
            json.dumps([asdict(completion), asdict(verdict)], ensure_ascii=False) for completion, verdict in graded
        )
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}-{os.getpid()}")
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(f"{text}\n{_digest(text)}\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)

    def _path(self, name: str) -> Path:
        # Names hold what a file name cannot, such as the slash of a path.
        return self.folder / f"{short(quote(name, safe=''))}.jsonl"


def short(name: str) -> str:
    """A name as a file system takes it, which knows no more than 255 bytes, some of which are for what is put before
    and behind it: of a longer one the beginning, and a hash of all of it."""
    if len(name.encode()) <= _LONGEST:
        return name
    return f"{name.encode()[: _LONGEST - 17].decode(errors='ignore')}-{_digest(name)[:16]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(row: list[dict[str, Any]]) -> Graded:
    completion, verdict = row
    return Completion(**completion), Verdict(**{**verdict, "label": Label(verdict["label"])})
