"""Standard streams with no descriptor behind them: what a program prints goes nowhere, or into a capped buffer."""

import builtins
import io
import os
import sys
from typing import Any

LARGEST_OUTPUT = 1 << 19
"""Bytes of printed output that are kept; a program that prints more has no answer."""


class Sink(io.RawIOBase):
    """Takes all that is written; keeps it up to `most` bytes."""

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self._data = bytearray()
        self.written = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1  # of which `as_descriptors` makes something

    def write(self, data: Any) -> int:
        size = len(memoryview(data).cast("B"))
        # Counted beyond the limit, too: output that was cut off must not pass for all of it.
        if self.written + size <= self._most:
            self._data += data
        self.written += size
        return size

    def text(self) -> str:
        """What was kept. Raises ValueError where it is not all."""
        if self.written > self._most:
            raise ValueError(f"more than {self._most} bytes were printed")
        return self._data.decode("utf-8", "replace")


class _Input(io.BytesIO):
    def fileno(self) -> int:
        return 0


def as_descriptors(sink: Sink) -> None:
    """Let scripts read and write as if descriptors 0 and 1 were there: `open(0)`, and `os.read(0, os.fstat(0).st_size)`
    with `os.write(1, ..)`, as programs of contests do for speed."""
    given = sys.stdin.buffer
    text = given.read()
    given.seek(0)
    plain_open, plain_read, plain_write, plain_fstat = builtins.open, os.read, os.write, os.fstat

    def open_(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if file in (0, "/dev/stdin") and not isinstance(file, bool):
            return io.BytesIO(text) if "b" in mode else io.StringIO(text.decode("utf-8", "replace"))
        return plain_open(file, mode, *arguments, **options)

    def read(descriptor: int, size: int) -> bytes:
        return given.read(size) if descriptor == 0 else plain_read(descriptor, size)

    def write(descriptor: int, data: Any) -> int:
        return sink.write(data) if descriptor == 1 else plain_write(descriptor, data)

    def fstat(descriptor: int) -> os.stat_result:
        if descriptor not in (0, 1):
            return plain_fstat(descriptor)
        return os.stat_result((0o100644, 0, 0, 1, 0, 0, len(text) if descriptor == 0 else 0, 0, 0, 0))

    builtins.open, os.read, os.write, os.fstat = open_, read, write, fstat  # type: ignore[assignment]


def redirect(stdin: str = "", keep: int = 0) -> Sink:
    """Make `stdin` the standard input, and a Sink that keeps so many bytes the standard output and error."""
    sink = Sink(keep)
    sys.stdin = io.TextIOWrapper(_Input(stdin.encode("utf-8", "replace")), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(sink), encoding="utf-8", errors="replace")
    # What is written to the standard error is no part of a script's output.
    sys.stderr = sys.stdout if not keep else io.TextIOWrapper(
        io.BufferedWriter(Sink()), encoding="utf-8", errors="replace"
    )
    for stream, mode in ((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")):
        stream.mode = mode  # type: ignore[misc]  # as Python has it of its own
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    return sink
