"""Frames on pipes, as a `Worker` and its process exchange them: one byte (0 in requests, a status in answers), a
length, a payload.

The processes run without site packages: nothing here may import anything that is not in the standard library.
"""

import os
import struct

HEADER = struct.Struct(">BI")

OK, DIED, LATE, TOO_MUCH, FAILED, UNUSABLE = range(6)
"""Status of an answer: an answer; the process died; its deadline passed; it wrote too much; it could not be run; what
was to be asked is no longer there, or not as it was."""


def read_frame(descriptor: int) -> bytes:
    """The payload of the next request. Ends this process where whoever asks has gone."""
    _, size = HEADER.unpack(_read_exactly(descriptor, HEADER.size))
    return _read_exactly(descriptor, size)


def write_frame(descriptor: int, status: int, payload: bytes) -> None:
    """An answer, whole."""
    frame = HEADER.pack(status, len(payload)) + payload
    while frame:
        frame = frame[os.write(descriptor, frame) :]


def _read_exactly(descriptor: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = os.read(descriptor, size - len(data))
        if not part:
            os._exit(0)
        data += part
    return bytes(data)
