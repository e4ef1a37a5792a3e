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

    def files(self) -> dict[int, Path]:
        """The file of each step that is kept, in order."""
        found = {int(match[1]): file for file in (self.folder.iterdir() if self.folder.is_dir() else ())
                 if (match := _FILE.fullmatch(file.name))}
        return dict(sorted(found.items()))

    def write(self, step: int, rows: Sequence[JsonMapping]) -> bool:
        """Keep the rows of a step, in the place of what an earlier attempt kept of it; returns whether they are kept,
        which they are not where steps between those that are there were removed to save room."""
        before = [one for one in self.files() if one < step]
        if len(before) > 1 and step - before[-1] < before[-1] - before[-2]:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"step-{step:06d}.jsonl.gz"
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        # Whole or not at all, and equal bytes for equal rows: no time of writing. It is not put on disk at once, since
        # a training that lost its last steps to a power cut makes them again.
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.write_bytes(gzip.compress(text.encode("utf-8", "surrogatepass"), compresslevel=5, mtime=0))
        temporary.replace(file)
        self._thin()
        return True

    def _thin(self) -> None:
        files = list(self.files().values())
        while len(files) > 2 and sum(file.stat().st_size for file in files) > self.most_bytes:
            for file in files[1::2]:
                file.unlink()
            files = files[::2]
