"""Grading bombs and watching what it does to the caller: used from four contexts."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rewards.grade import grade
from rewards.types import Completion, Problem
from tests.rewards.maths.bombs import BOMBS

SECONDS = 3.0
A_WHILE = 10.0
"""What a few bombs may take where the machine may be busy with other tests; alone, as `make faults` runs them, all keep
SECONDS."""
A_FEW = ("tangent", "tower of nines", "factorial", "binomial", "sum", "integral", "open braces", "almost a number")
SOFT = "\\sqrt[3]{2}"


def throw(names: Sequence[str]) -> None:
    """Grade each bomb, all of them as the gold answer too; each is answered in time and the next grading is as ever."""
    # sympy is imported, which is slow on a busy machine
    grade(Problem("", "", "\\sin 1", "math", ""), Completion("\\cos 1"))
    limit = SECONDS if len(names) > len(A_FEW) else A_WHILE
    for name in names:
        bomb = BOMBS[name]
        # Beside a plain number most are wrong for their size alone; beside what has to be computed none is.
        few = [("5", bomb), (SOFT, bomb)]
        for gold, answer in [*few, (bomb, SOFT)] if len(names) > len(A_FEW) else few:
            began = time.monotonic()
            verdict = grade(Problem("", "", gold, "math", ""), Completion(f"<answer>{answer}</answer>"))
            assert time.monotonic() - began < limit, (name, gold)
            assert not verdict.correct, (name, gold, verdict)
        began = time.monotonic()
        assert grade(Problem("", "", "1", "math", ""), Completion("\\boxed{\\sin^2 x+\\cos^2 x}")).correct, name
        assert not grade(Problem("", "", "2", "math", ""), Completion("\\boxed{\\sin^2 x+\\cos^2 x}")).correct, name
        assert time.monotonic() - began < limit, name


@contextlib.contextmanager
def nothing_touched() -> Iterator[None]:
    """The caller's signal handlers and its timer are afterwards what they were, and no signal came. For the main
    thread."""
    fired: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: fired.append(number))
    signal.setitimer(signal.ITIMER_REAL, 3600)
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
        assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < 3600
        assert fired == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def less_than(gigabytes: float) -> Iterator[None]:
    """No process below this one, and no growth of this one, takes as much memory meanwhile (resident, by /proc)."""
    peaks: dict[int, int] = {}
    # The most that a process had before is no matter of what it does now.
    start = {process: _resident(process) for process in [os.getpid(), *_below(os.getpid())]}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for process in _below(os.getpid()):
                peaks[process] = max(peaks.get(process, 0), _resident(process) - start.get(process, 0))
            peaks[0] = max(peaks.get(0, 0), _resident(os.getpid()) - start[os.getpid()])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    print(
        f"peak: {max(v for k, v in peaks.items() if k) >> 20} MiB in a grader's process, {peaks[0] >> 20} MiB more in "
        f"this one"
    )
    assert max(peaks.values()) < gigabytes * 2**30


def _resident(process: int) -> int:
    """The most bytes that a process has had resident so far; 0 where it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _below(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in map(int, (task / "children").read_text().split()):
                # Between fork and exec a process of ours has this one's memory, and its command line.
                if Path(f"/proc/{child}/cmdline").read_bytes() != Path("/proc/self/cmdline").read_bytes():
                    found += [child, *_below(child)]
    return found
