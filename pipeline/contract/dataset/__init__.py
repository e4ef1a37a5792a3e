"""Datasets as stages hand them to each other, and as a person writes them: where rows come from is in `sources`, what a
row may be in `forms`, how a recipe names them in `reference`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from eval.row_files import BadRow, RowFileError
from pipeline.contract.dataset import forms, sources
from pipeline.contract.dataset.reference import ALL, DataReference, Selection, parse
from pipeline.contract.dataset.sources import FILE
from pipeline.contract.errors import StageError
from pipeline.contract.stage import Context
from pipeline.disk.durable import JsonObject

__all__ = [
    "ALL", "FILE", "DataReference", "ReadsRows", "Selection", "bad_row", "drops_bad_rows", "glance", "parse", "placed",
    "records", "rows_of",
]

MOST_ROWS = 20_000
MOST_CHARACTERS = 2**26
"""How much of a dataset `glance` reads at most: what takes about a second."""


class ReadsRows(BaseModel):
    """The fields of a stage that trains on rows: what becomes of those that are bad or too long."""

    bad_rows: Literal["stop", "drop"] = Field(
        default="stop", description="a row that cannot be learned from stops the run, or is left out and counted"
    )
    too_long: Literal["drop", "cut"] = Field(
        default="drop", description="longer rows are left out, or cut at the end; both are counted"
    )


OF_ROWS = ("epochs", "batch_size", "limit", "max_length", "bad_rows", "too_long")
"""Fields of a training on rows, of which a student that learns from its own answers has none."""


def drops_bad_rows(config: BaseModel) -> bool:
    """Whether a stage leaves bad rows out."""
    return isinstance(config, ReadsRows) and config.bad_rows == "drop"


def records(
    path: Path, selection: Selection = ALL, bad: Callable[[BadRow], None] | None = None
) -> Iterator[JsonObject]:
    """The rows of a dataset, one after the other, as `forms.record` makes them; the rest is as in `placed`."""
    return (record for _, record in placed(path, selection, bad))


def rows_of(ctx: Context, reference: str) -> Iterator[JsonObject]:
    """The rows of the dataset that a stage's input field names, whatever it is (an earlier stage, a file, a folder, a
    set of the hub) and with what stands behind its question mark. A row has "prompt", which may be None, and
    "completion", or "messages". Raises StageError as `placed` does."""
    return records(ctx.path(reference), parse(reference).selection)


def placed(
    path: Path, selection: Selection = ALL, bad: Callable[[BadRow], None] | None = None
) -> Iterator[tuple[str, JsonObject]]:
    """The rows of a dataset with their places: of an artifact (its data.jsonl), a file, several files (`*.jsonl`), or a
    folder.

    Raises StageError naming the file and line of the first row that is none, or what else the file is. With `bad` that
    is told instead of each such row, and only a dataset without a single good one is an error.
    """
    some, first = False, None
    for where, found in _entries(path, selection):
        if not isinstance(found, BadRow):
            some = True
            yield where, found
        elif bad is None:
            raise bad_row(found)
        else:
            first = first or found
            bad(found)
    if not some:
        raise _unusable(path, first)


def _entries(path: Path, selection: Selection) -> Iterator[tuple[str, JsonObject | BadRow]]:
    if not path.exists() and "*" not in path.name:
        raise StageError(f"{path} is not there; a dataset is a file of rows, or a folder of such files")
    try:
        for where, row in sources.entries(path, selection):
            yield where, row if isinstance(row, BadRow) else forms.record(row, where, selection)
    except RowFileError as error:
        raise StageError(str(error)) from error


def bad_row(bad: BadRow) -> StageError:
    """The error of a bad row that is not to be left out."""
    return StageError(f"{bad.message} (bad_rows: drop leaves such rows out)")


def _unusable(path: Path, first: BadRow | None) -> StageError:
    return StageError(f"no row of {path} can be used, such as {first.message}" if first else f"{path} has no rows")


def glance(path: Path, selection: Selection = ALL, *, drop: bool = False) -> None:
    """Reads the first rows of a dataset, so that a file which is none is told when a recipe is read; with `drop` bad
    rows are none of it, unless all are bad. Raises StageError as `records` does; the rest is read before the run's
    first stage (see `run.before.leaks`)."""
    characters, some, first = 0, False, None
    for count, (_, found) in enumerate(_entries(path, selection), 1):
        if not isinstance(found, BadRow):
            some = True
            characters += len(forms.text_of(found))
        elif drop:
            first = first or found
        else:
            raise bad_row(found)
        if count >= MOST_ROWS or characters >= MOST_CHARACTERS:
            break
    if not some:
        raise _unusable(path, first)
