"""The grader's side of a zygote: starting it, one run in a fresh child, and what it found out about this machine."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rewards.errors import RetortError
from rewards.sandbox import imports, wire
from rewards.sandbox.frames import Ended, Frames, Late, TooMuch
from rewards.sandbox.levels import Level, level_of

STARTUP = 60.0
"""Seconds that a zygote may take to be ready, and a child to be locked in, on a busy machine."""

GRACE = 1.0
"""Seconds that a zygote has to kill and reap a child."""

# An arena of glibc's for every thread would take 64 MB of a program's memory each.
_FOR_LIBRARIES = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""What a zygote's libraries read when they are loaded; programs do not see it."""

_HERE = Path(__file__).parent


class SandboxError(RetortError, RuntimeError):
    """No program can be run here, or not at the level that is asked for. One line."""


class NotStarted(SandboxError):
    """A zygote died before it was ready, or never was."""


class Gone(Exception):
    """The zygote died, was killed, or does not answer: whatever came of the run says nothing of the program."""


@dataclass(frozen=True)
class Report:
    """What a zygote found out. `layers` maps each layer to "" or why it is not there; `refused` each attempt of the
    self-test to the name of its error, or "" where it succeeded.
    """

    level: Level
    layers: Mapping[str, str]
    refused: Mapping[str, str]

    @property
    def line(self) -> str:
        """The level, and why it is not a higher one."""
        missing = [f"{layer}: {why}" for layer, why in self.layers.items() if why]
        open_ = [name for name, error in self.refused.items() if not error]
        notes = [*missing, *(f"a program can {name}" for name in open_)]
        return f"{self.level.name}, {self.level.summary}" + (f" ({'; '.join(notes)})" if notes else "")


class Run(Frames):
    """One child. Its deadline begins when it is locked in and has read its task."""

    def __init__(self, channel: socket.socket, seconds: float) -> None:
        super().__init__(channel, STARTUP)
        self._seconds = seconds
        self._ready = False

    def give(self, task: Mapping[str, Any]) -> None:
        """The task, which comes first of all. Raises Gone, and TypeError or ValueError where it is not JSON."""
        body = json.dumps(task).encode()
        # The program does not run before it has been read whole, so a failure here is not its doing.
        try:
            self.send_frame(body)
        except (Late, Ended) as error:
            raise Gone from error

    def start(self) -> None:
        """Wait until the child is locked in and has its task, from when its seconds count. Raises Gone where it never
        is."""
        if self._ready:
            return
        try:
            self.take(len(wire.READY))
        except (Late, Ended) as error:  # it has not run a line of its program
            raise Gone from error
        self._ready = True
        self.deadline = time.monotonic() + self._seconds

    def receive(self) -> bytes:
        """The next frame. Raises Late, Ended, TooMuch, or Gone where the child was never ready."""
        self.start()
        return self.receive_frame()


class Zygote:
    """One zygote and its control socket. It belongs to the process that made it: after a fork the child makes its
    own."""

    def __init__(self, most: Level = Level.L4, numpy: Path | None = None) -> None:
        """`numpy` is the folder that NumPy is imported from, for programs that use it."""
        self._most = most
        self._numpy = numpy
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Frames | None = None
        self._pid = 0
        self._report: Report | None = None
        self.starts = 0

    @property
    def pid(self) -> int:
        """The process that is running, started if there is none."""
        self._running()
        assert self._process is not None
        return self._process.pid

    def report(self) -> Report:
        """What this zygote found out. Raises SandboxError."""
        self._running()
        assert self._report is not None
        return self._report

    @contextlib.contextmanager
    def run(self, seconds: float, megabytes: int, modules: list[str]) -> Iterator[Run]:
        """A run in a fresh child, which is dead afterwards. Raises Gone, SandboxError, and what the block raises.

        An Ended that leaves the block carries how the child ended.
        """
        with self._child(self._running(), seconds, megabytes, modules) as run:
            yield run

    @contextlib.contextmanager
    def _child(self, control: Frames, seconds: float, megabytes: int, modules: list[str]) -> Iterator[Run]:
        # A channel of its own for every child. The control socket is never in the hands of a program.
        mine, theirs = socket.socketpair()
        names = ",".join(modules).encode("ascii")
        megabytes += imports.NUMPY_MEGABYTES if self._numpy else 0
        header = wire.START.pack(seconds, megabytes, len(names)) + names
        with mine:
            try:
                # Closed here once it is sent: while we held it, the end of the child would not end the channel.
                with theirs:
                    control.deadline = time.monotonic() + GRACE
                    control.send(header, theirs.fileno())
                yield Run(mine, seconds)
            except Ended as error:
                raise Ended(self._end(control)) from error
            except Gone:
                self._end(control)  # which knows more, if no child could be started
                raise
            except BaseException:
                with contextlib.suppress(Gone):  # what is on its way says more
                    self._end(control)
                raise
            self._end(control)

    def _end(self, control: Frames) -> str:
        """Have the child killed; how it ended. Raises Gone."""
        control.deadline = time.monotonic() + GRACE
        try:
            control.send(wire.END)
            how, number = wire.ENDED.unpack(control.take(wire.ENDED.size))
        except (Late, Ended) as error:
            self.kill()
            raise Gone from error
        except BaseException:
            self.kill()  # an interrupted request leaves an answer on the way
            raise
        if how == wire.NOT_STARTED:
            raise SandboxError(f"no process can be started ({os.strerror(number)})")
        return _signal_name(number) if how == wire.KILLED_BY else f"code {number}"

    def kill(self) -> None:
        """End the process, if it is ours; the next run starts another."""
        process, self._process = self._process, None
        control, self._control = self._control, None
        if control is not None:
            control.close()
        if process is None:
            return
        if self._pid != os.getpid():
            process.returncode = 0  # it is our parent's: leave it alone
        else:
            process.kill()
            process.wait()

    def _running(self) -> Frames:
        if self._process is not None and (self._pid != os.getpid() or self._process.poll() is not None):
            self.kill()
        if self._control is None:
            self._start()
        assert self._control is not None
        return self._control

    def _start(self) -> None:
        self._pid = os.getpid()
        self.starts += 1
        mine, theirs = socket.socketpair()
        # No site packages, no user folder, no bytecode written: what a program could import is the standard library.
        command = [sys.executable, "-I", "-S", "-B", str(_HERE / "zygote.py"), self._most.name]
        command += [str(self._numpy)] if self._numpy else []
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
                    env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **_FOR_LIBRARIES}, start_new_session=True,
                )
            except OSError as error:
                mine.close()
                raise SandboxError(f"the sandbox does not start: {error}") from error
        self._control = control = Frames(mine, STARTUP)
        try:
            layers = json.loads(control.receive_frame())["layers"]
            refused = self._self_test(control)
        except (Gone, Late, Ended, TooMuch, ValueError, KeyError) as error:
            self.kill()
            raise NotStarted(f"the sandbox does not start ({type(error).__name__})") from error
        except BaseException:
            self.kill()  # half of a zygote is none
            raise
        works = [layer for layer, why in layers.items() if not why]
        # Where the self-test succeeds at anything that it must not, layers that seemed to work are not believed.
        level = level_of(works) if all(refused.values()) else Level.L1
        self._report = Report(level, layers, refused)

    def _self_test(self, control: Frames) -> dict[str, str]:
        # Sent the way that programs go, so that it meets what they will meet.
        task = {"mode": "call", "code": _self_test_program(), "entry": "attempts", "inputs": [[]]}
        with self._child(control, STARTUP, 512, []) as run:
            run.give(task)
            ((what, (_, *items)),) = json.loads(run.receive())
        if what != "value":
            raise ValueError("the self-test failed")
        return dict(items)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@lru_cache(maxsize=1)
def _self_test_program() -> str:
    return (_HERE / "selftest.py").read_text(encoding="utf-8")
