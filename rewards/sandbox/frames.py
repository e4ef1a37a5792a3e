"""The grader's end of a channel: whole frames, each by a deadline, whatever the other side does."""

import select
import socket
import struct
import time

from rewards.sandbox import wire
from rewards.workers import wait_for


class Late(Exception):
    """The deadline passed."""


class Ended(Exception):
    """The other side closed its end or died instead of writing a whole frame."""


class TooMuch(Exception):
    """The other side announced a frame that is larger than any may be."""


class Frames:
    """Frames over one socket. `deadline` is on the monotonic clock and holds for every call."""

    def __init__(self, channel: socket.socket, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self._channel = channel
        self._unread = bytearray()
        channel.setblocking(False)

    def send_frame(self, body: bytes) -> None:
        """Raises Late or Ended."""
        self.send(wire.framed(body))

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        """Bytes without a length; a descriptor goes with the first of them. Raises Late or Ended."""
        left = memoryview(data)
        extra = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))]
        while left:
            try:
                left = left[self._channel.sendmsg([left], extra) :]
                extra = []  # a part may have been sent: the descriptor has gone with it and must not go twice
            except BlockingIOError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise Ended from error

    def receive_frame(self) -> bytes:
        """Raises Late, Ended or TooMuch."""
        (size,) = wire.LENGTH.unpack(self.take(wire.LENGTH.size))
        # The length is what a program claims: it is refused before a byte of it is waited for.
        if size > wire.LARGEST_FRAME:
            raise TooMuch
        return self.take(size)

    def take(self, size: int) -> bytes:
        """The next `size` bytes. Raises Late or Ended."""
        while len(self._unread) < size:
            self._wait(select.POLLIN)
            try:
                part = self._channel.recv(1 << 16)
            except BlockingIOError:
                continue
            except OSError as error:
                raise Ended from error
            if not part:
                raise Ended
            self._unread += part
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    def close(self) -> None:
        self._channel.close()

    def _wait(self, event: int) -> None:
        try:
            wait_for(self._channel.fileno(), event, self.deadline)
        except TimeoutError as error:
            raise Late from error
