"""Locks that die with their holder, on this machine and, as far as one machine can tell, on others."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.disk import locks

HOLD = "import sys, time; from pathlib import Path; from pipeline.disk.locks import Lock; " \
       "lock = Lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def test_a_lock_says_who_holds_it_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(locks.Held) as caught:
        locks.Lock(path)
    assert caught.value.holder["pid"] == other.pid
    assert f"process {other.pid} on " in str(caught.value)
    assert (locks.holder(path) or {})["pid"] == other.pid
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    assert locks.holder(path) is None
    with locks.Lock(path, token="mine"):
        assert (locks.holder(path) or {})["token"] == "mine"
    assert not path.exists()


def test_who_only_looks_keeps_nobody_from_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    looking = path.open()
    fcntl.flock(looking, fcntl.LOCK_SH)
    gone = threading.Timer(0.3, looking.close)
    gone.start()
    locks.Lock(path).release()
    gone.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT", 0.05)
    monkeypatch.setattr(locks, "LEASE", 0.5)
    monkeypatch.setattr(locks, "SETTLE", 0.1)


def seen_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this is another machine, whose kernel knows nothing of the locks of the first."""
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


Elsewhere = Callable[[pytest.MonkeyPatch], None]
ELSEWHERE = {"another machine": lambda patch: seen_from("other", patch), "no flock": without_flock}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_lock_that_the_kernel_does_not_know_counts_while_it_is_touched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    first = locks.Lock(path, token="first", keep=True)
    ELSEWHERE[name](monkeypatch)
    time.sleep(0.6)  # longer than a lease
    assert (locks.holder(path) or {})["token"] == "first"
    with pytest.raises(locks.Held, match="is held by process"):
        locks.Lock(path)
    assert path.exists()
    first.release()
    assert locks.holder(path) is None
    monkeypatch.setattr(locks, "LEASE", 60.0)
    settle = time.sleep

    def sleep(seconds: float) -> None:
        assert seconds <= locks.SETTLE, "what was given back is waited for"  # and not only for others to write
        settle(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    with locks.Lock(path, token="second", keep=True):
        assert json.loads(path.read_text())["token"] == "second"
    assert list(tmp_path.iterdir()) == [path]  # and nothing else is left


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_machine_that_is_gone_is_outlasted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.send_signal(signal.SIGKILL)
    ELSEWHERE[name](monkeypatch)
    assert locks.holder(path) is not None  # it may be alive
    with locks.Lock(path, token="mine"):
        assert json.loads(path.read_text())["token"] == "mine"
    assert not path.exists()


@pytest.mark.parametrize("name", ELSEWHERE)
def test_who_lives_by_a_lock_outlasts_a_disk_that_was_away(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "lock", [1e6]
    lock = locks.Lock(path, token="mine", keep=True)
    ELSEWHERE[name](monkeypatch)
    monkeypatch.setattr(locks.time, "monotonic", lambda: now[0])
    watched = locks.Watched(path, "mine")

    def lost(after: float) -> bool:
        now[0] += after
        return watched.lost()

    assert locks.Watched(path, "another's").lost()
    assert not lost(0.5)
    os.utime(path, (1e9, 1e9))  # when the disk is back the holder has not touched it for long
    assert not lost(600)
    assert not lost(0.5)
    os.utime(path)
    assert [lost(0.5) for _ in range(59)] == [False] * 59
    os.utime(path, (2e9, 2e9))
    assert [lost(0.5) for _ in range(62)].index(True) == 60  # a lease after the last touch
    lock.release()
    assert locks.Watched(path, "mine").lost()


def test_who_lives_by_a_lock_of_this_machine_asks_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    watched = locks.Watched(path, "mine")
    assert watched.lost()
    with subprocess.Popen([sys.executable, "-c", HOLD.replace("argv[1])", "argv[1]), token='mine'"), str(path)],
                          stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        os.utime(path, (1e9, 1e9))  # whatever the disk says
        assert not watched.lost()
        other.send_signal(signal.SIGKILL)
    assert watched.lost()


def test_a_folder_that_can_only_be_read_is_told_of_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    with locks.Lock(path, token="first"):
        seen_from("other", monkeypatch)

        def refuse(**_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
        assert (locks.holder(path) or {})["token"] == "first"


def test_other_errors_of_the_disk_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"):
        locks.Lock(tmp_path / "lock")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("keep", [True, False])
def test_who_waits_for_another_machine_gets_what_that_gives_back(
    keep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    monkeypatch.setattr(locks, "BEAT", 60.0)  # it is not touched again, and counts for its lease
    monkeypatch.setattr(locks, "LEASE", 60.0)
    first = locks.Lock(path, keep=keep)
    seen_from("other", monkeypatch)
    threading.Timer(0.3, first.release).start()
    with locks.Lock(path, token="second", keep=keep):
        assert json.loads(path.read_text())["token"] == "second"


@pytest.mark.usefixtures("quick")
def test_of_two_that_begin_together_without_flock_one_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, had = tmp_path / "lock", []
    without_flock(monkeypatch)
    begin = threading.Barrier(4)

    def take() -> None:
        begin.wait()
        with contextlib.suppress(locks.Held):
            had.append(locks.Lock(path))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(had) == 1
    had[0].release()


@pytest.mark.usefixtures("quick")
def test_a_lock_that_another_machine_took_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    monkeypatch.setattr(locks, "BEAT", 60.0)  # as if it were away
    first = locks.Lock(path, keep=True)
    seen_from("other", monkeypatch)
    time.sleep(0.6)
    second = locks.Lock(path, token="second", keep=True)
    first.release()
    assert json.loads(path.read_text())["token"] == "second"
    second.release()
