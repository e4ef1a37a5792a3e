"""Tables as text: CSV and TSV with a header. Every value is text; line ends inside quotes are part of it."""

import csv
from collections import Counter
from collections.abc import Iterator
from io import BufferedReader
from itertools import chain
from pathlib import Path

from eval.row_files.lines import texts
from eval.row_files.types import LONGEST, BadRow, Row, RowFileError

DELIMITERS = ",;\t"


def of_table(path: Path, file: BufferedReader, delimiter: str | None) -> Iterator[tuple[str, Row | BadRow]]:
    """The rows with their places, the line that each begins in. Without a delimiter it is the one of `DELIMITERS` that
    the header has most of. Raises RowFileError."""
    lines = (line for _, line in texts(path, file))
    first = next(lines, "")
    delimiter = delimiter or max(DELIMITERS, key=first.count)
    csv.field_size_limit(LONGEST)  # the module's own, 128 KiB, is less than many a text
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    header = _header(path, reader)
    while True:
        where = f"{path}:{reader.line_num + 1}"
        try:
            fields = next(reader, None)
        except csv.Error as error:
            if "unexpected end of data" in str(error) or "field limit" in str(error):
                raise RowFileError(f"{where}: a quote that is opened here is not closed") from error
            yield where, BadRow("quotes", f"{where} is no row of a table: {error}")
            continue
        if fields is None:
            return
        if len(fields) == len(header):
            yield where, dict(zip(header, fields, strict=True))
        elif fields:
            has = f"{len(fields)} field{'s' * (len(fields) != 1)}"
            yield where, BadRow("fields", f"{where} has {has}, and the header has {len(header)}")


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        if "new-line character" in str(error):  # a carriage return alone, which csv's reader does not take for an end
            raise RowFileError(f"{path} ends its lines with a carriage return, as old Macs did; write it anew with: "
                               f"tr '\\r' '\\n' < {path.name}") from error
        raise RowFileError(f"{path}:1 is no header of a table: {error}") from error
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise RowFileError(f"{path}:1 has two columns {twice[0]!r}; give each a name of its own")
    return header
