"""A row, a bad one, and the error of a file that is none of rows."""

from dataclasses import dataclass
from typing import Any, ClassVar  # what a column holds only its file knows

from rewards.errors import RetortError

Row = dict[str, Any]

LONGEST = 2**26
"""Bytes of one line or row at most; a file without line ends is not read into memory whole."""


class RowFileError(RetortError, ValueError):
    """A file of rows cannot be read: it is missing, or of another kind, or one of its lines is broken. One line."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class BadRow:
    """A row that is broken while its file goes on behind it. `reason` is one of a few, to count by; `message` is the
    whole line for a person, with the place."""

    reason: str
    message: str


def require_text(value: object, name: str, where: str) -> None:
    """Raises RowFileError unless `value` is text that can be written down."""
    if not isinstance(value, str):
        raise RowFileError(f"{where}: {name!r} must be text, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can say half of a surrogate pair, and no tokenizer takes it
        raise RowFileError(f"{where}: {name!r} holds {value[error.start]!a}, half of a surrogate pair") from error


def shown(value: object) -> str:
    """A value in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
