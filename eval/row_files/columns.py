"""Parquet files, read in batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any  # what a column holds only its file knows

import numpy as np

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
                short = [field for field in batch.schema if _has_short_floats(field.type)]
                for row in batch.to_pylist():
                    number += 1
                    exact = {field.name: _written(row[field.name], field.type) for field in short}
                    yield f"{path}, row {number}", {**row, **exact}
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise RowFileError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:160]}") from error


def _has_short_floats(kind: "pyarrow.DataType") -> bool:
    """Whether a column of this type holds numbers of single or half precision, in itself or further inside."""
    return kind in (pyarrow.float32(), pyarrow.float16()) or any(
        _has_short_floats(kind.field(place).type) for place in range(kind.num_fields))


def _written(value: Any, kind: "pyarrow.DataType") -> Any:
    """A value with numbers of single and half precision as they are written: 0.1 and not 0.10000000149011612, which is
    another answer."""
    if value is None or not _has_short_floats(kind):
        return value
    if kind == pyarrow.float32():
        return float(str(np.float32(value)))
    if kind == pyarrow.float16():
        return float(str(np.float16(value)))
    if pyarrow.types.is_struct(kind):
        return {field.name: _written(value[field.name], field.type) for field in kind}
    if isinstance(value, list) and not pyarrow.types.is_map(kind):
        return [_written(one, kind.value_type) for one in value]
    return value
