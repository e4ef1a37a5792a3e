"""Nothing hostile is found correct, late, or afterwards in a file, a process or the next program."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rewards.code import forget
from rewards.grade import grade
from rewards.sandbox.levels import Level
from rewards.sandbox.pool import sandbox
from rewards.types import Completion, Problem, Verdict
from tests.rewards.sandbox.hostile import PROGRAMS

TESTS = [{"input": [1, 2], "expected": 3}, {"input": [10, -4], "expected": 6}]
SECONDS = 0.5


def run(program: str) -> Verdict:
    return grade(
        Problem("p", "", {"entry": "add", "tests": TESTS, "seconds": SECONDS}, "code", ""), Completion(program)
    )


@dataclass
class Host:
    canary: Path
    victim: int

    def program(self, text: str) -> str:
        return text.replace("CANARY", str(self.canary)).replace("VICTIM", str(self.victim))

    def state(self) -> object:
        files = {str(path): path.read_bytes() for path in self.canary.rglob("*") if path.is_file()}
        kept = (self.canary / "kept").stat()
        handlers = [
            signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGCHLD, signal.SIGTERM, signal.SIGIO)
        ]
        return (
            sorted(os.listdir(self.canary)), files, kept.st_mode, kept.st_mtime_ns, self.canary.stat().st_mode,
            handlers, Path(f"/proc/{self.victim}/stat").read_text().split()[2] in "RSD", os.getcwd(), dict(os.environ),
            len(os.listdir("/proc/self/fd")), os.uname().nodename, os.sched_getaffinity(0),
            os.getpriority(os.PRIO_PROCESS, 0),
        )  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A folder that everybody may write to, and a process that a program run as nobody may signal."""
    if os.geteuid() == 0:  # programs run as nobody then, who is to reach the folder
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(folder.stat().st_mode | 0o055)
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "kept").write_text("3")
    (canary / "kept").chmod(0o666)
    canary.chmod(0o777)
    victim = subprocess.Popen(["sleep", "600"], user=65534 if os.geteuid() == 0 else None)
    sandbox.report()
    yield Host(canary, victim.pid)
    victim.kill()
    victim.wait()


def attack(host: Host, names: list[str], prelude: str = "") -> list[str]:
    """What went wrong, for each of the programs."""
    before = host.state()
    wrong = []
    for name in names:
        start = time.monotonic()
        verdict = run(prelude + host.program(PROGRAMS[name]))
        took = time.monotonic() - start
        if verdict.correct:
            wrong.append(f"{name} was found correct")
        if took > SECONDS + 10:  # it was ended, however busy the machine is
            wrong.append(f"{name} took {took:.1f} s")
        if not run(f"def add(a, b): return a + b  # after {name}").correct:
            wrong.append(f"{name} spoiled the next run")
        if host.state() != before:
            wrong.append(f"{name} changed this machine: {before} to {host.state()}")
            before = host.state()
    return wrong


@contextmanager
def at(level: Level) -> Iterator[None]:
    """New zygotes of that level and no other, and nothing remembered of programs that ran at another."""
    forget()
    sandbox.most = level
    try:
        assert sandbox.report().level is level
        yield
    finally:
        sandbox.most = Level.L4
        forget()


needs_filter = pytest.mark.skipif(sandbox.report().level < Level.L2, reason="L1 does not claim to withstand these")


def test_there_are_several_times_as_many_as_examples() -> None:
    assert len(PROGRAMS) >= 200


WITH_NUMPY = "import numpy, sys\nsys.modules['ctypes'] = numpy._core._internal.ctypes\n"
"""NumPy has brought along what programs may not import, and hands it out."""


@needs_filter
@pytest.mark.parametrize("kinds", [
    ("lying/", "patching/", "looking/"), ("forging/", "ending/"), ("reaching/", "files/"), ("threading/",),
])
def test_nothing_hostile_gets_through_with_numpy(host: Host, kinds: tuple[str, ...]) -> None:
    names = [name for name in PROGRAMS if name.startswith(kinds)]
    assert run(f"{WITH_NUMPY}def add(a, b): return a + b").correct  # so that its zygote is there
    assert attack(host, names, WITH_NUMPY) == []


@needs_filter
@pytest.mark.parametrize("kind", sorted({name.partition("/")[0] for name in PROGRAMS}))
def test_nothing_hostile_gets_through(host: Host, kind: str) -> None:
    assert attack(host, [name for name in PROGRAMS if name.startswith(f"{kind}/")]) == []


@pytest.mark.parametrize("level", [Level.L2, Level.L3])
def test_nor_at_a_lower_level(host: Host, level: Level) -> None:
    if sandbox.report().level < level:
        pytest.skip(f"this machine has {sandbox.report().line}")
    kinds = ("reaching/", "files/", "looking/", "waiting/", "threading/raw", "forging/torn", "forging/close")
    with at(level):
        assert attack(host, [name for name in PROGRAMS if name.startswith(kinds)]) == []


@pytest.mark.filterwarnings("ignore:model-written programs run at L1")
def test_there_are_no_threads_without_the_filter() -> None:
    with at(Level.L1):
        started = "import threading\ndef add(a, b):\n    threading.Thread(target=int).start()\n    return a + b"
        if os.geteuid() != 0 or sandbox.report().refused["fork"]:
            assert "can't start new thread" in run(started).reason
        assert run("import asyncio\ndef add(a, b): return asyncio.run(asyncio.to_thread(int, a + b))").correct


@pytest.mark.filterwarnings("ignore:model-written programs run at L1")
def test_rlimits_alone_forge_no_verdict_either(host: Host) -> None:
    kinds = ("lying/", "patching/", "forging/", "ending/", "waiting/")
    with at(Level.L1):
        assert attack(host, [name for name in PROGRAMS if name.startswith(kinds)]) == []


def test_no_process_is_left_behind() -> None:
    def ours() -> set[str]:
        return {pid for pid in os.listdir("/proc") if pid.isdigit() and _parent(pid) == os.getpid()}

    run("def add(a, b): return a + b  # so that the zygote is there")
    before = ours()
    threads = threading.active_count()
    for name in ("using_up/loop", "using_up/fork_quietly", "ending/segfault", "forging/close_all_and_wait",
                 "threading/least_stacks", "threading/hangs"):
        run(PROGRAMS[name])
    assert ours() == before
    assert threading.active_count() == threads


def _parent(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
