"""Rollouts that a training keeps to be looked at: one compressed JSONL file for each kept step, bounded in size."""

import gzip
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.disk.durable import JsonMapping

MOST_BYTES = 256 * 2**20
"""Of one stage's kept rollouts. Past it every second step is removed, and only every second one is kept from then
on."""

_FILE = re.compile(r"step-(\d+)\.jsonl\.gz")


class KeptRollouts:
    """The folder of one stage's kept rollouts; it need not exist."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        self._sizes: dict[int, int] = {}  # bytes by step, once something was written

    def files(self) -> dict[int, Path]:
        """The file of each step that is kept, in order."""
        found = {int(match[1]): file for file in (self.folder.iterdir() if self.folder.is_dir() else ())
                 if (match := _FILE.fullmatch(file.name))}
        return dict(sorted(found.items()))

    def write(self, step: int, rows: Sequence[JsonMapping]) -> bool:
        """Keep the rows of a step, in the place of what an earlier attempt kept of it; returns whether they are kept,
        which they are not where steps between those that are there were removed to save room."""
        if not self._sizes:  # then looking costs once, and not at each of ten thousand steps
            self._sizes = {one: file.stat().st_size for one, file in self.files().items()}
        before = sorted(one for one in self._sizes if one < step)[-2:]
        if len(before) == 2 and step - before[1] < before[1] - before[0]:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._file(step)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        # Whole or not at all, and equal bytes for equal rows: no time of writing. It is not put on disk at once, since
        # a training that lost its last steps to a power cut makes them again.
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.write_bytes(gzip.compress(text.encode("utf-8", "surrogatepass"), compresslevel=5, mtime=0))
        self._sizes[step] = temporary.stat().st_size
        temporary.replace(file)
        self._thin()
        return True

    def _file(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.jsonl.gz"

    def _thin(self) -> None:
        while len(self._sizes) > 2 and sum(self._sizes.values()) > self.most_bytes:
            for step in sorted(self._sizes)[1::2]:
                self._file(step).unlink(missing_ok=True)  # `retort clean` may have been there
                del self._sizes[step]
