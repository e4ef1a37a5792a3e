"""Standard streams with no descriptor behind them: what a program prints goes nowhere, or into a capped buffer."""

import io
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


def redirect(stdin: str = "", keep: int = 0) -> Sink:
    """Make `stdin` the standard input, and a Sink that keeps so many bytes the standard output and error."""
    sink = Sink(keep)
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode("utf-8", "replace")), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(sink), encoding="utf-8", errors="replace")
    # What is written to the standard error is no part of a script's output.
    sys.stderr = sys.stdout if not keep else io.TextIOWrapper(
        io.BufferedWriter(Sink()), encoding="utf-8", errors="replace"
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    return sink
