"""Datasets as stages hand them to each other, and as a person writes them: rows of a prompt and a completion."""

from collections.abc import Iterator
from pathlib import Path

from eval import row_files
from eval.row_files import RowFileError, require_text
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject

FILE = "data.jsonl"
"""What a dataset artifact keeps its rows in."""

MOST_ROWS = 20_000
MOST_CHARACTERS = 2**26
"""How much of a dataset `glance` reads at most: what takes about a second."""


def records(path: Path) -> Iterator[JsonObject]:
    """The rows of a dataset artifact (its data.jsonl), or of a .jsonl or .parquet file, one after the other: each with
    a completion, and a prompt, which is None for a text without one.

    Raises StageError naming the file and line of the first row that is none, or what else the file is.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise StageError(f"{path} has no {FILE}; a dataset is a file of rows, or a folder with that file")
    some = False
    try:
        for where, row in row_files.read(file):
            some = True
            yield _record(row, where)
    except RowFileError as error:
        raise StageError(str(error)) from error
    if not some:
        raise StageError(f"{file} has no rows")


def _record(row: JsonObject, where: str) -> JsonObject:
    told = row if "completion" in row else {**row, "prompt": None, "completion": row.get("text")}
    if told["completion"] is None:
        held = ", ".join(map(repr, list(row)[:8])) or "nothing"
        raise StageError(f'{where}: a row needs "prompt" and "completion", or "text"; this one has {held}')
    require_text(told["completion"], "completion" if "completion" in row else "text", where)
    prompt = told.get("prompt")
    if prompt is not None:
        require_text(prompt, "prompt", where)
    return {"prompt": None, **told}


def glance(path: Path) -> None:
    """Reads the first rows of a dataset, so that a file which is none is told when a recipe is read. Raises StageError
    as `records` does; the rest is read before the run's first stage (see `run.leaks`)."""
    characters = 0
    for count, record in enumerate(records(path), start=1):
        characters += len(record["completion"]) + len(record["prompt"] or "")
        if count >= MOST_ROWS or characters >= MOST_CHARACTERS:
            break
