"""Files of rows, a JSON object a line or Parquet: read as a stream, and told in one line where they are something
else, with what to do about it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn  # what a column holds only its file knows

from rewards.errors import RetortError
from rewards.lazy import lazy

with lazy:
    import pyarrow
    from pyarrow import parquet

Row = dict[str, Any]

LONGEST_LINE = 2**26
"""Bytes; a file without line ends is not read into memory whole."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FOREIGN = (
    (b"\x1f\x8b", "is compressed with gzip; unpack it first: gunzip {name}"),
    (b"BZh", "is compressed with bzip2; unpack it first: bunzip2 {name}"),
    (b"\xfd7zXZ\x00", "is compressed with xz; unpack it first: unxz {name}"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it first: unzstd {name}"),
    (b"PK\x03\x04", "is a zip archive; unpack it first: unzip {name}"),
    (b"\xff\xfe", "is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 {name}"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 {name}"),
)
_PARQUET = b"PAR1"


class RowFileError(RetortError, ValueError):
    """A file of rows cannot be read: it is missing, or of another kind, or one of its lines is broken. One line."""

    exit_code: ClassVar[int] = 2


def read(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a file in order, each with its place: "mine.jsonl:3", or "mine.parquet, row 3". Empty lines are
    skipped. Raises RowFileError at the first thing that is wrong."""
    try:
        with path.open("rb") as file:
            begins = file.read(8)
            for mark, said in _FOREIGN:
                if begins.startswith(mark):
                    raise RowFileError(f"{path} {said.format(name=path.name)}")
            file.seek(0)
            if begins.startswith(_PARQUET) or path.suffix == ".parquet":
                yield from _of_parquet(path)
            else:
                yield from _of_lines(path, file)
    except OSError as error:
        raise RowFileError(f"{path} cannot be read ({error.strerror})") from error


def _of_lines(path: Path, file: BinaryIO) -> Iterator[tuple[str, Row]]:
    # By bytes and not by str.splitlines: a text may hold characters that Python takes for line ends.
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
        where = f"{path}:{number}"
        if len(line) > LONGEST_LINE:
            raise RowFileError(f"{where} has more than {LONGEST_LINE:,} bytes in a line; write one JSON object a line")
        if number == 1:  # editors on Windows write a mark that is no part of the text
            line = line.removeprefix(_BYTE_ORDER_MARK)
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise RowFileError(
                f"{where} is not UTF-8 (byte {line[error.start]:#04x} at {error.start + 1}); save the file as UTF-8, "
                f"from Latin-1 with: iconv -f LATIN1 -t UTF-8 {path.name}"
            ) from error
        if text.strip():
            yield where, _row(text, where, path, first=number == 1)


def _row(text: str, where: str, path: Path, *, first: bool) -> Row:
    try:
        row = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise RowFileError(f"{where} is nested too deep to be read") from error
    except ValueError as error:
        hint = ""
        if first and path.suffix in (".csv", ".tsv"):
            hint = "; a table has to be written as one JSON object a line (.jsonl), or as Parquet"
        elif first and text.strip() in ("[", "{"):
            hint = f"; write one object a line: jq -c '.[]' {path.name}"
        said = error.msg if isinstance(error, json.JSONDecodeError) else " ".join(str(error).split())
        column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise RowFileError(f"{where} is not JSON: {said}{column}{hint}") from error
    if not isinstance(row, dict):
        shown = text.strip() if len(text.strip()) <= 60 else f"{text.strip()[:57]}..."
        hint = f"; write one object a line: jq -c '.[]' {path.name}" if isinstance(row, list) else ""
        raise RowFileError(f"{where} is not a JSON object: {shown}{hint}")
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _of_parquet(path: Path) -> Iterator[tuple[str, Row]]:
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise RowFileError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:160]}") from error


def require_text(value: object, name: str, where: str) -> None:
    """Raises RowFileError unless `value` is text that can be written down."""
    if not isinstance(value, str):
        shown = repr(value)
        raise RowFileError(f"{where}: {name!r} must be text, not {shown if len(shown) <= 60 else f'{shown[:57]}...'}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can say half of a surrogate pair, and no tokenizer takes it
        raise RowFileError(f"{where}: {name!r} holds {value[error.start]!a}, half of a surrogate pair") from error
