"""Parquet files, read in batches."""

from collections.abc import Iterator
from pathlib import Path

from eval.row_files.types import BadRow, Row, RowFileError
from rewards.lazy import lazy

with lazy:
    import pyarrow
    from pyarrow import parquet

BATCH = 1024  # rows that are Python objects at once


def of_parquet(path: Path) -> Iterator[tuple[str, Row | BadRow]]:
    """The rows with their places. Raises RowFileError."""
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for row in _with_short_floats(batch).to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise RowFileError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:160]}") from error


def _with_short_floats(batch: "pyarrow.RecordBatch") -> "pyarrow.RecordBatch":
    """The batch with numbers of single precision as they are written: 0.1 and not 0.10000000149011612, which is another
    answer."""
    for place, field in enumerate(batch.schema):
        if field.type == pyarrow.float32():
            doubles = batch.column(place).cast(pyarrow.string()).cast(pyarrow.float64())
            batch = batch.set_column(place, field.name, doubles)
    return batch
