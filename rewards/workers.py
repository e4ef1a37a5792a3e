"""Processes that may be killed: each is started by exec, answers one request at a time and has one deadline for it.

A `Worker` belongs to the process that made it. After a fork the child starts its own, since two processes that share
one pipe would read each other's answers. No signal handler, timer or event loop of the caller is touched, so a worker
may be used from any thread.
"""

import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from rewards.errors import RetortError
from rewards.frames import DIED, HEADER, LATE, OK

GRACE = 0.8
"""Seconds that a worker has beyond the deadline, which it holds itself, before it is killed from here."""

STARTUP = 60.0
"""Seconds that a worker may take until it says that it is ready (math imports sympy, on a busy machine)."""


def cores() -> int:
    """How many processors this process may use, and so how many workers can be at work at once."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class WorkerError(RetortError, RuntimeError):
    """A worker could not be started."""


class Worker:
    """One exec'd child process that serves frames on its standard input and output."""

    def __init__(self, script: Path, *, search_path: bool = False, trusted: bool = False) -> None:
        """`script` is a Python file; with `search_path` it may import what this process can.

        A `trusted` one has this process's environment and folder, others neither.
        """
        self._script = script
        self._search_path = search_path
        self._trusted = trusted
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._unread = bytearray()
        self._retired = False
        self.starts = 0

    def ask(self, payload: bytes, seconds: float) -> tuple[int, bytes]:
        """(status, payload). Answers within `seconds` + GRACE.

        Where a process has to be started first, that time counts too, but leaves the request at least half of its own.
        A process that dies while idle is replaced silently; one that dies over a request gives DIED.
        """
        # Twice, because a process that died while it was idle is often found out by asking it.
        return self._exchange(payload, seconds) or self._exchange(payload, seconds) or (DIED, b"")

    def more(self, seconds: float) -> tuple[int, bytes]:
        """The next frame of an answer that has several; all of them are to be read before the next request."""
        return self._exchange(None, seconds) or (DIED, b"")

    def _exchange(self, payload: bytes | None, seconds: float) -> tuple[int, bytes] | None:
        """The next answer, to a request where one is given; None where the process died."""
        began = time.monotonic()
        process = self._process if payload is None or self._retired else self._running()
        if process is None or self._retired:
            self.kill()
            return None
        seconds = max(seconds / 2, seconds - (time.monotonic() - began))
        deadline = time.monotonic() + seconds + GRACE
        try:
            if payload is not None:
                self._write(process, struct.pack(">d", seconds) + payload, deadline)
            return self._read(process, deadline)
        except TimeoutError:
            self.kill()
            return LATE, b""
        except (OSError, EOFError):
            self.kill()
            return None
        except BaseException:
            self.kill()  # an interrupted request leaves an answer in the pipe
            raise

    def retire(self) -> None:
        """End the process for good. May be called from another thread, while one waits for an answer: it gets DIED."""
        self._retired = True
        process = self._process
        if process is not None and self._pid == os.getpid():
            process.kill()

    def kill(self) -> None:
        """End the process, if it is ours; the next request starts another."""
        process, self._process = self._process, None
        self._unread.clear()
        if process is None:
            return
        if self._pid != os.getpid():
            # It is our parent's: close our copies of the pipes and leave the process alone.
            process.returncode = 0
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own, with what it forked
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and (self._pid != os.getpid() or self._process.poll() is not None):
            self.kill()
        if self._process is None:
            self._process = self._start()
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        self._pid = os.getpid()
        self.starts += 1
        # The interpreter behind a venv: -I -S would not find the venv's packages anyhow. Bytecode is kept: pip may not
        # have written any, and to compile all of sympy takes three times as long as to import it.
        command = [sys.executable, "-I", "-S", *(["-B"] if sys.dont_write_bytecode else []), str(self._script)]
        # Foreign text and foreign libraries are not shown our environment, where keys and tokens may be.
        environment = None if self._trusted else {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            cwd=None if self._trusted else "/", bufsize=0, start_new_session=True,
        )
        # An editable install is found by a hook of its site packages, which a child without them does not have.
        home = str(Path(__file__).resolve().parent.parent)
        search_path = [home, *(part or os.getcwd() for part in sys.path)] if self._search_path else []
        deadline = time.monotonic() + STARTUP
        try:
            self._write(process, "\0".join(search_path).encode(), deadline)
            status, _ = self._read(process, deadline)
        except (OSError, EOFError, TimeoutError) as error:
            process.kill()
            process.wait()
            raise WorkerError(f"the process of {self._script.name} did not start ({type(error).__name__})") from error
        if status != OK:
            process.kill()
            process.wait()
            raise WorkerError(f"the process of {self._script.name} did not start")
        return process

    @staticmethod
    def _write(process: subprocess.Popen[bytes], payload: bytes, deadline: float) -> None:
        assert process.stdin is not None
        descriptor = process.stdin.fileno()
        # Not blocking, since a process that has stopped reading would hold this write beyond every deadline.
        data = memoryview(HEADER.pack(0, len(payload)) + payload)
        os.set_blocking(descriptor, False)
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:
                wait_for(descriptor, select.POLLOUT, deadline)

    def _read(self, process: subprocess.Popen[bytes], deadline: float) -> tuple[int, bytes]:
        assert process.stdout is not None
        descriptor, data = process.stdout.fileno(), self._unread
        while len(data) < (size := HEADER.size + (HEADER.unpack_from(data)[1] if len(data) >= HEADER.size else 0)):
            wait_for(descriptor, select.POLLIN, deadline)
            part = os.read(descriptor, 1 << 16)
            if not part:
                raise EOFError
            data += part
        status, answer = data[0], bytes(data[HEADER.size : size])
        del data[:size]
        return status, answer


class Killable(Protocol):
    """What a pool holds: something that starts its process by itself when it is used, and may be killed at any time."""

    def kill(self) -> None: ...


K = TypeVar("K", bound=Killable)


class Pool(Generic[K]):
    """As many workers as are needed at once, each made when it is first needed; for use from many threads."""

    def __init__(self, make: Callable[[], K]) -> None:
        self._make = make
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[K] = []

    @contextlib.contextmanager
    def worker(self) -> Iterator[K]:
        """A worker that nobody else uses meanwhile."""
        if self._pid != os.getpid():
            # A fork: the lock may have been held by a thread that does not exist here.
            for worker in self._idle:
                worker.kill()
            self._reset()
        with self._lock:
            worker = self._idle.pop() if self._idle else self._make()
        try:
            yield worker
        finally:
            with self._lock:
                self._idle.append(worker)

    def close(self) -> None:
        """End every idle worker; the pool goes on working."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()


def wait_for(descriptor: int, event: int, deadline: float) -> None:
    """Return when the event (of select.poll) is there. Raises TimeoutError at the deadline, which is on the monotonic
    clock."""
    poll = select.poll()
    poll.register(descriptor, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError
