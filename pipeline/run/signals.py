"""Which signals stop a run, and which of its processes hears them: the runner, which passes on SIGTERM to its stages.

Who stops a job sends its signal to one process, to a process group or to every process of the job. The end is the same:
each stage ends its step and leaves a checkpoint.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

STOPS = (
    signal.SIGINT,  # Ctrl-C
    signal.SIGTERM,  # Slurm, systemd, Docker, Kubernetes
    signal.SIGHUP,  # the terminal was closed
    signal.SIGUSR1,  # Slurm, so much time ahead as --signal=USR1@SECONDS says
)

STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)
"""How a stage ends that was asked to stop: after a checkpoint, or where it had none to leave."""

THROUGH_SRUN = signal.SIGUSR2
"""What stands for SIGTERM on the way through srun, which takes SIGTERM itself as an order to kill its tasks."""


@contextlib.contextmanager
def heard_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While this lasts each signal of STOPS is `handler`'s, but SIGHUP where it is ignored, as nohup wants it."""
    before = {number: signal.getsignal(number) for number in STOPS}
    # A shell without job control ignores SIGINT in what it starts in the background; who sends it there means it.
    heard = [number for number in STOPS if number != signal.SIGHUP or before[number] != signal.SIG_IGN]
    for number in heard:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def leave_to_the_runner(*numbers: signal.Signals) -> None:
    """In another process of the run: ignore what is the runner's to hear. What is started from here does so, too."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def hear_through_srun() -> None:
    """In what srun has started: the first THROUGH_SRUN is a SIGTERM. In what is started from here it is nothing, since
    some of Slurm's plug-ins send a signal to every process of a step."""
    # Blocked signals stay blocked in what a process starts, and it is only waited for here.
    signal.pthread_sigmask(signal.SIG_BLOCK, [THROUGH_SRUN])

    def pass_on() -> None:
        signal.sigwait([THROUGH_SRUN])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=pass_on, name="hear-through-srun", daemon=True).start()


def lose_terminal() -> None:
    """After SIGHUP: what is written to the terminal that is gone goes nowhere, instead of failing."""
    gone = []
    for number in (1, 2):
        try:
            os.write(number, b"")
            if os.isatty(number):
                gone.append(number)
        except OSError:
            gone.append(number)
    _lead_nowhere(gone)


def lose_readers() -> bool:
    """Whether a standard stream leads to a pipe that nobody reads any more, or to a terminal that is gone. What is
    written there from now on goes nowhere, instead of failing."""
    streams = select.poll()
    for number in (1, 2):
        streams.register(number, 0)  # whether the other end is gone is told without being asked for
    gone = [number for number, event in streams.poll(0) if event & (select.POLLERR | select.POLLHUP)]
    _lead_nowhere(gone)
    return bool(gone)


def lose_log(text: str) -> None:
    """What is written to standard output from now on goes nowhere, instead of failing. `text` goes to standard error,
    and so does what follows it, where that can be written."""
    _lead_nowhere([1])
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _lead_nowhere([2])


def wait_for_readers() -> None:
    """Standard streams that who shares them has made non-blocking, where a slow reader is an error, wait from now
    on."""
    for number in (1, 2):
        with contextlib.suppress(OSError):  # it was closed
            os.set_blocking(number, True)


def _lead_nowhere(streams: Sequence[int]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in streams:
        os.dup2(nowhere, number)
    os.close(nowhere)
