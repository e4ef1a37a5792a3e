"""Processes that answer one request at a time and are replaced when they die, hang or are killed."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from rewards.frames import DIED, LATE, OK
from rewards.workers import Pool, Worker, WorkerError

ECHO = '''
import os, struct, time
HEADER = struct.Struct(">BI")
def exactly(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(0)
        data += part
    return data
def frame():
    return exactly(HEADER.unpack(exactly(5))[1])
def send(data):
    data = HEADER.pack(0, len(data)) + data
    while data:
        data = data[os.write(1, data):]
frame()
send(b"ready")
while True:
    data = frame()[8:]
    if data == b"die":
        os._exit(1)
    if data == b"sleep":
        time.sleep(60)
    send(str(os.getpid()).encode() if data == b"pid" else data)
'''


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "echo.py").write_text(ECHO)
    return tmp_path / "echo.py"


def test_it_answers_and_heals(script: Path) -> None:
    worker = Worker(script)
    assert worker.ask(b"hello", 5) == (OK, b"hello")
    big = bytes(3_000_000)
    assert worker.ask(big, 5) == (OK, big)
    assert worker.starts == 1
    assert worker.ask(b"die", 5)[0] == DIED
    assert worker.ask(b"again", 5) == (OK, b"again")
    _, pid = worker.ask(b"pid", 5)
    os.kill(int(pid), signal.SIGKILL)
    assert worker.ask(b"healed", 5) == (OK, b"healed")
    worker.kill()


def test_a_deadline_is_kept(script: Path) -> None:
    worker = Worker(script)
    worker.ask(b"up", 5)
    start = time.monotonic()
    assert worker.ask(b"sleep", 0.2)[0] == LATE
    assert time.monotonic() - start < 2
    assert worker.ask(b"x", 5) == (OK, b"x")
    worker.kill()


def test_a_script_that_does_not_start_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("raise SystemExit(3)")
    with pytest.raises(WorkerError, match="did not start"):
        Worker(tmp_path / "bad.py").ask(b"x", 1)


def test_a_pool_serves_many_threads(script: Path) -> None:
    pool = Pool(lambda: Worker(script))
    answers: list[tuple[int, bytes]] = []

    def ask(number: int) -> None:
        for turn in range(20):
            text = f"{number}-{turn}".encode()
            with pool.worker() as worker:
                status, data = worker.ask(text, 5)
            assert data == text
            answers.append((status, data))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({data for status, data in answers if status == OK}) == 80
    pool.close()


def test_what_a_process_forked_ends_with_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    fork = (
        f"child = os.fork()\n        if child:\n            open({str(told)!r}, 'w').write(str(child))\n        "
        f"time.sleep(60)"
    )
    (tmp_path / "forks.py").write_text(ECHO.replace("time.sleep(60)", fork))
    worker = Worker(tmp_path / "forks.py")
    assert worker.ask(b"sleep", 1.0)[0] == LATE
    child = Path(f"/proc/{told.read_text()}/stat")
    deadline = time.monotonic() + 5
    while child.exists() and child.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_bytecode_of_what_it_imports_is_kept_unless_we_keep_none(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script.with_name("echoed.py").write_text(ECHO)
    script.write_text(f"import sys\nsys.path.append({str(script.parent)!r})\nimport echoed\n")
    for none, kept in ((True, False), (False, True)):
        monkeypatch.setattr(sys, "dont_write_bytecode", none)
        worker = Worker(script)
        assert worker.ask(b"hello", 5) == (OK, b"hello")
        worker.kill()
        assert script.with_name("__pycache__").exists() == kept
