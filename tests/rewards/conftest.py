"""Real data files, where they are; tests that need one are skipped with the reason where it is not."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def rows() -> Callable[[str], Rows]:
    """A function that reads a JSONL file of the data folder."""

    def read(name: str) -> Rows:
        folder = Path(os.environ.get("RETORT_DATA") or Path(__file__).parents[3] / "shared" / "data")
        if not (folder / name).is_file():
            pytest.skip(f"no {name} in {folder}; set RETORT_DATA to the folder that has it")
        return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]

    return read
