"""Frames on the channel of one run: four bytes of length, then so many bytes, which are only ever data."""

import os
import struct
from collections.abc import Callable

LENGTH = struct.Struct(">I")
LARGEST_FRAME = 1 << 20
"""Bytes that a child may write in one frame; what the grader writes is not limited."""

READY = b"\0"
"""What a child writes, without a length, when it is locked in and has read its task: from here its time counts."""

START = struct.Struct(">dII")
"""Grader to zygote, beside one descriptor: seconds, megabytes, length of the comma-separated modules that follow."""

END = b"E"
"""Grader to zygote: kill the child, if it still runs, and tell how it ended."""

ENDED = struct.Struct(">BI")
"""Zygote to grader: EXITED and the code, KILLED_BY and the signal, or NOT_STARTED and the error number."""

EXITED, KILLED_BY, NOT_STARTED = range(3)


def framed(body: bytes) -> bytes:
    """A body with its length before it."""
    return LENGTH.pack(len(body)) + body


def read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    """`size` bytes from `read`. Raises EOFError where there are fewer."""
    data = bytearray()
    while len(data) < size:
        part = read(min(size - len(data), 1 << 16))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


class Channel:
    """The child's end: blocking reads and writes of whole frames on one descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def receive(self) -> bytes:
        """The next frame. Raises EOFError when the grader is gone or has had enough."""
        (size,) = LENGTH.unpack(read_exactly(self._read, LENGTH.size))
        return read_exactly(self._read, size)

    def send(self, body: bytes) -> None:
        self.write(framed(body))

    def write(self, data: bytes) -> None:
        """Bytes without a length."""
        # In parts: a blocking socket may take less than it is given.
        while data:
            data = data[os.write(self._descriptor, data[: 1 << 16]) :]

    def _read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)
