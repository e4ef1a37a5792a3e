"""Files of rows: JSON lines, JSON, tables and Parquet, compressed or not. They are read as a stream, and told in one
line where they are something else, with what to do about it."""

from collections.abc import Iterator
from pathlib import Path

from eval.row_files import lines, lists, tables
from eval.row_files.columns import of_parquet
from eval.row_files.opening import PARQUET, is_compressed, opened, without_compression
from eval.row_files.types import BadRow, Row, RowFileError, require_text

__all__ = ["ENDINGS", "BadRow", "Row", "RowFileError", "entries", "is_row_file", "read", "require_text"]

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""What files of rows are called; behind it may stand .gz, .bz2, .xz or .zst."""


def is_row_file(name: str) -> bool:
    """Whether a file of this name is one of rows."""
    return without_compression(name).endswith(ENDINGS)


def read(path: Path, part: str | None = None) -> Iterator[tuple[str, Row]]:
    """The rows of a file in order, each with its place: "mine.jsonl:3", or "mine.parquet, row 3". Empty lines are
    skipped. Raises RowFileError at the first thing that is wrong."""
    for where, row in entries(path, part):
        if isinstance(row, BadRow):
            raise RowFileError(row.message)
        yield where, row


def entries(path: Path, part: str | None = None) -> Iterator[tuple[str, Row | BadRow]]:
    """As `read`, but a row that is broken by itself is an entry like the others. `part` is the key of the list of rows
    in a JSON file that is an object. Raises RowFileError where the file as a whole cannot be read."""
    if path.exists() and not path.is_file():  # a folder, or a pipe that never ends
        raise RowFileError(f"{path} is no file of rows")
    try:
        with opened(path) as file:
            name = without_compression(path.name)
            if file.peek(len(PARQUET)).startswith(PARQUET) or name.endswith(".parquet"):
                if is_compressed(path):
                    raise RowFileError(f"{path} is a compressed Parquet file; unpack it first, Parquet is compressed "
                                       "in itself")
                found = of_parquet(path)
            elif name.endswith((".csv", ".tsv")):
                found = tables.of_table(path, file, "\t" if name.endswith(".tsv") else None)
            elif name.endswith(".json") and not lists.is_lines(path):
                found = lists.of_list(path, file, part)
                part = None
            else:
                found = lines.of_lines(path, file)
            if part is not None:
                raise RowFileError(f"{path} has no parts; leave split={part} away")
            yield from found
    except OSError as error:
        raise RowFileError(f"{path} cannot be read ({error.strerror or error})") from error
