"""JSON lines: an object a line."""

import json
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NoReturn

from eval.row_files.types import LONGEST, BadRow, Row, RowFileError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def of_lines(path: Path, file: BufferedReader) -> Iterator[tuple[str, Row | BadRow]]:
    """The objects of the lines, each with its place. Raises RowFileError, also where the first line says that the file
    is something else."""
    for number, text in texts(path, file):
        if text.strip():
            where = f"{path}:{number}"
            yield where, _row(text, where, path, first=number == 1)


def texts(path: Path, file: BufferedReader) -> Iterator[tuple[int, str]]:
    """The lines of a text with their numbers, line ends included. Raises RowFileError where one is too long or no
    UTF-8."""
    # By bytes and not by str.splitlines: a text may hold characters that Python takes for line ends.
    for number, line in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), start=1):
        where = f"{path}:{number}"
        if len(line) > LONGEST:
            raise RowFileError(f"{where} has more than {LONGEST:,} bytes in a line; write one JSON object a line")
        if number == 1:  # editors on Windows write a mark that is no part of the text
            line = line.removeprefix(_BYTE_ORDER_MARK)
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            raise RowFileError(
                f"{where} is not UTF-8 (byte {line[error.start]:#04x} at {error.start + 1}); {save_as_utf8(path)}"
            ) from error


def save_as_utf8(path: Path) -> str:
    """What to do with a text in another encoding, which nobody can tell for sure: CP949 read as Latin-1 is nonsense."""
    return f"save the file as UTF-8: iconv -f LATIN1 -t UTF-8 {path.name}, with CP949, GBK or another for LATIN1"


def _row(text: str, where: str, path: Path, *, first: bool) -> Row | BadRow:
    hint = f"; write one object a line: jq -c '.[]' {path.name}"
    try:
        row = json.loads(text.rstrip("\r\n"), parse_constant=refuse_constant)
    except RecursionError:
        return BadRow("not JSON", f"{where} is nested too deep to be read")
    except ValueError as error:
        said = error.msg if isinstance(error, json.JSONDecodeError) else " ".join(str(error).split())
        column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        message = f"{where} is not JSON: {said}{column}"
        if first and text.strip() in ("[", "{"):
            raise RowFileError(message + hint) from error
        return BadRow("not JSON", message)
    if not isinstance(row, dict):
        shown = text.strip() if len(text.strip()) <= 60 else f"{text.strip()[:57]}..."
        return BadRow("not an object", f"{where} is not a JSON object: {shown}{hint if isinstance(row, list) else ''}")
    return row


def refuse_constant(name: str) -> NoReturn:
    """For json: NaN and Infinity are none of its numbers."""
    raise ValueError(f"{name} is no number of JSON")
