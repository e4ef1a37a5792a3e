"""JSON files: a list of objects, or an object with such a list. Objects are read one after the other, so that a file of
any size is a stream."""

import json
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from eval.row_files.lines import refuse_constant, save_as_utf8
from eval.row_files.opening import opened
from eval.row_files.types import LONGEST, BadRow, Row, RowFileError, shown

_CHUNK = 2**18  # bytes read at once
_LONGEST_MARK = 16  # characters: an escape or a word such as `false` may be cut so far before the end of what was read


def is_lines(path: Path) -> bool:
    """Whether a file called .json has an object a line all the same, as many have."""
    with opened(path) as file:
        first = file.readline(LONGEST)
        if not first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return False
        try:
            json.loads(first)
        except (ValueError, RecursionError):
            return False
        return any(line.strip() for line in iter(lambda: file.readline(LONGEST), b""))


def of_list(path: Path, file: BufferedReader, part: str | None) -> Iterator[tuple[str, Row | BadRow]]:
    """The rows with their places: those of the list, or of the list under `part` in an object; without `part` an object
    has one list of objects. Raises RowFileError."""
    text = _Text(path, file)
    if text.at() == "[":
        if part is not None:
            raise RowFileError(f"{path} is a list and has no parts; leave split={part} away")
        yield from _elements(path, text)
    elif text.at() == "{":
        yield from _in_object(path, text, part)
    elif text.at():
        raise RowFileError(f"{path} holds no rows; it is a list of objects, or an object with such a list")
    if text.at():
        raise text.error("more behind its end")


def _in_object(path: Path, text: "_Text", part: str | None) -> Iterator[tuple[str, Row | BadRow]]:
    found: list[str] = []
    text.take("{")
    while text.at() != "}":
        key = text.value()
        text.take(":")
        if text.at() == "[" and part in (None, key):
            text.take("[")
            if text.at() == "{" or part is not None:
                found.append(str(key))
                if len(found) > 1:
                    raise RowFileError(f"{path} has several lists of rows, {' and '.join(map(repr, found))}; say "
                                       f"which: {path.name}?split={found[0]}")
                yield from _rest(path, text)
            else:  # a list of something else, which is read over
                for _ in _rest(path, text):
                    pass
        else:
            text.value()
        if text.at() != "}":
            text.take(",")
    text.take("}")
    if not found:
        asked = f"no list of rows {part!r}" if part else "no list of rows"
        raise RowFileError(f"{path} has {asked}; it is a list of objects, or an object with such a list (pandas: "
                           "df.to_json(file, orient='records', lines=True))")


def _elements(path: Path, text: "_Text") -> Iterator[tuple[str, Row | BadRow]]:
    text.take("[")
    yield from _rest(path, text)


def _rest(path: Path, text: "_Text") -> Iterator[tuple[str, Row | BadRow]]:
    """The elements of a list whose bracket was taken."""
    number = 0
    while text.at() != "]":
        number += 1
        where = f"{path}, row {number}"
        value = text.value()
        yield where, value if isinstance(value, dict) else BadRow(
            "not an object", f"{where} is not a JSON object: {shown(value)}"
        )
        if text.at() != "]":
            text.take(",")
    text.take("]")


class _Text:
    """The text of a JSON file, of which only the value that is read is in memory."""

    def __init__(self, path: Path, file: BufferedReader) -> None:
        self._path, self._file = path, file
        self._decoder = json.JSONDecoder(parse_constant=refuse_constant)
        self._left = b""
        self._text, self._place, self._line, self._ended = "", 0, 1, False
        self._more(_CHUNK)
        self._text = self._text.removeprefix("\ufeff")

    def at(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in " \t\r\n":
                self._place += 1
            if self._place < len(self._text) or self._ended:
                return self._text[self._place : self._place + 1]
            self._more(_CHUNK)

    def take(self, mark: str) -> None:
        """Step over a bracket, colon or comma that has to be there."""
        if self.at() != mark:
            raise self.error(f"expecting {mark!r}")
        self._place += 1

    def value(self) -> object:
        """The value that stands here."""
        self.at()
        size = _CHUNK
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._place)
                # A number at the end of what was read may go on.
                if end < len(self._text) or self._ended:
                    self._place = end
                    return found
            except RecursionError as error:
                raise self.error("it is nested too deep") from error
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos > len(self._text) - _LONGEST_MARK
                if self._ended or not cut:
                    raise self.error(error.msg, error.pos) from error
            except ValueError as error:
                raise self.error(" ".join(str(error).split())) from error
            if len(self._text) - self._place > LONGEST:
                raise self.error(f"a value of more than {LONGEST:,} characters")
            self._more(size)
            size *= 2  # so that a long value is not tried again for each piece of it

    def error(self, said: str, at: int | None = None) -> RowFileError:
        line = self._line + self._text.count("\n", 0, self._place if at is None else at)
        return RowFileError(f"{self._path}:{line} is not JSON: {said}")

    def _more(self, size: int) -> None:
        read = self._file.read(size)
        self._ended = not read
        data = self._left + read
        try:
            text, used = data.decode(), len(data)
        except UnicodeDecodeError as error:
            if self._ended or error.end < len(data) or len(data) - error.start > 3:
                line = self._line + self._text.count("\n") + data.count(b"\n", 0, error.start)
                raise RowFileError(
                    f"{self._path}:{line} is not UTF-8 (byte {data[error.start]:#04x}); {save_as_utf8(self._path)}"
                ) from error
            used = error.start  # a character whose last bytes are not read yet
            text = data[:used].decode()
        self._left = data[used:]
        self._line += self._text.count("\n", 0, self._place)
        self._text, self._place = self._text[self._place :] + text, 0
