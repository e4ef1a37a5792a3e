"""Text that came from outside, made harmless before a terminal shows it.

What a server answers, a plug-in says, a model writes or a file is called may hold escape sequences, which move the
cursor, rename the window or write to the clipboard, and characters that turn the direction of what follows. The
command line puts `EscapingStream` in place of its standard streams, so that nothing is printed around it. What draws
with escape sequences of its own (the live display) writes to `raw(stream)` and escapes what it is told itself.
"""

import codecs
import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_ACTIVE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # control characters, but for tabs and line breaks
    "|\r(?!\n)"  # alone it goes back to the start of the line, to write over what is there
    "|[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
    "|[\ud800-\udfff]"  # half of a character, which no stream can write
)
"""Control characters, marks of direction, invisible characters, lone surrogates. Joiners (U+200C and U+200D) are left:
scripts and emoji are written with them."""


def escaped(text: str) -> str:
    """The text with everything that acts on a terminal written as `\\u001b`, which inside JSON means the same."""
    return _ACTIVE.sub(_written, text)


def one_line(text: str) -> str:
    """The escaped text without line breaks; a break, with the spaces around it, becomes a space."""
    return escaped(re.sub(r"\s*[\r\n]+\s*", " ", text.strip("\r\n")))


def _written(match: re.Match[str]) -> str:
    return _as_units(match[0])


def _as_units(text: str) -> str:
    # As UTF-16 units, because JSON knows no other escapes.
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def _lacked(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return _as_units(error.object[error.start : error.end]), error.end


_LACKED = "retort.lacked"
"""How what an encoding lacks is written. Python's own `backslashreplace` writes \\xb5, which is wrong inside JSON."""
codecs.register_error(_LACKED, _lacked)


class EscapingStream(io.TextIOBase):
    """A text stream that writes to `stream` what is written to it, escaped.

    What the stream's encoding lacks is escaped, too, so that printing never raises UnicodeEncodeError.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        shown = escaped(text)
        if not shown.isascii():
            encoding = self.encoding
            shown = shown.encode(encoding, _LACKED).decode(encoding)
        self.stream.write(shown)
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the stubs
        return self.stream.encoding or "utf-8"

    @property
    def buffer(self) -> BinaryIO:
        """For rows of bytes: as they are into files and pipes, escaped on a terminal."""
        return cast(BinaryIO, _EscapingBytes(self)) if self.isatty() else self.stream.buffer


class _EscapingBytes(io.RawIOBase):
    def __init__(self, stream: EscapingStream) -> None:
        self._stream = stream

    def write(self, data: "ReadableBuffer", /) -> int:
        held = bytes(data)
        self._stream.write(held.decode(errors="replace"))
        return len(held)

    def flush(self) -> None:
        self._stream.flush()

    def writable(self) -> bool:
        return True


def raw(stream: TextIO) -> TextIO:
    """The stream under an EscapingStream, for who draws; another one as it is."""
    return stream.stream if isinstance(stream, EscapingStream) else stream


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


@contextlib.contextmanager
def escaping() -> Iterator[None]:
    """Standard output and standard error are escaped inside.

    They stay so where something is raised, since Python prints the traceback after that. One that was closed (`>&-`),
    which Python has none for, writes nowhere.
    """
    before = sys.stdout, sys.stderr
    inside = [_nowhere() if stream is None else raw(stream) for stream in before]
    sys.stdout, sys.stderr = (cast(TextIO, EscapingStream(stream)) for stream in inside)
    yield
    sys.stdout, sys.stderr = before
    for given, stream in zip(before, inside, strict=True):
        if given is None:
            stream.close()
