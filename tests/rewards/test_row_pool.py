"""The processes of `retort grade`: that share the rows, and what happens to them when something dies."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rewards import row_pool
from rewards.dump import grade_dump
from rewards.row_pool import RowPool, whole_lines

FRAGILE = '''
import os, time
from rewards.types import Label, Verdict
def fragile(problem, completion):
    print("no frame", flush=True)
    if completion.text == "die":
        os._exit(1)
    if completion.text == "hang":
        time.sleep(60)
    return Verdict(Label.CORRECT, completion.text)
'''
BOMB = json.dumps({"verifier": "math", "answer": "5", "response": "\\tan(10^{10^{20}})"})


def test_what_dies_or_hangs_costs_its_own_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fragile.py").write_text(FRAGILE)
    monkeypatch.setattr(row_pool, "SECONDS_A_ROW", 0.5)
    texts = [{7: "die", 40: "hang", 41: "die"}.get(number, f"row {number}") for number in range(1, 101)]
    verifier = f"{tmp_path / 'fragile.py'}:fragile"
    lines = [json.dumps({"verifier": verifier, "answer": "", "completion": text}) for text in texts]
    out, err = io.BytesIO(), io.StringIO()
    counts = grade_dump(io.BytesIO("\n".join(lines).encode()), out, err, jobs=2)
    assert counts == {"correct": 97, "bad rows": 3}
    graded = [json.loads(line)["completion"] for line in out.getvalue().splitlines()]
    assert graded == [text for text in texts if text not in ("die", "hang")]
    assert err.getvalue().splitlines()[:3] == [
        "line 7: the process that graded this row died",
        "line 40: the process that graded this row hung",
        "line 41: the process that graded this row died",
    ]


def test_a_row_is_graded_before_the_next_one_comes() -> None:
    read_end, write_end = os.pipe()
    with contextlib.closing(RowPool(2)) as pool, open(read_end, "rb", buffering=0) as file, open(
        write_end, "wb", buffering=0
    ) as rows:
        batches = pool.grade(file)
        for number in range(3):
            rows.write(f'{{"verifier": "math", "answer": "5", "response": "{number}"}}\n'.encode())
            assert json.loads(next(batches).rows[0])["response"] == str(number)
        rows.write(b'{"torn')
        rows.close()
        assert [batch.bad[0][0] for batch in batches] == [0]


def test_no_more_is_read_ahead_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_pool, "AHEAD", 2)
    monkeypatch.setattr(row_pool, "MOST", row_pool.FIRST)
    read = 0

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            nonlocal read
            read += 1
            return b'{"verifier": "math", "answer": "5", "response": "5"}\n'

    with contextlib.closing(RowPool(2)) as pool:
        batches = pool.grade(Endless())
        assert next(batches).lines == 1
        assert next(batches).lines == 1
        time.sleep(0.2)
        assert read <= 2 + 2 * 2 + 1


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with contextlib.closing(RowPool(1)) as pool, (tmp_path / "new").open("wb", buffering=0) as file:
        batches = pool.grade(file)
        with pytest.raises(OSError, match="not open for reading"):
            next(batches)


def test_lines_come_whole_however_they_are_read() -> None:
    class Drips(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(3)

    for text in (b"", b"\n", b"a", b"a\n", b"one\n\ntwo three\nfour"):
        lines = [line for some in whole_lines(Drips(text)) for line in some]
        assert lines == text.removesuffix(b"\n").split(b"\n") if text else lines == []


def test_what_stands_in_a_row_survives_the_way_to_a_process_and_back() -> None:
    texts = ["é \u2028 \x85 \r \\n", "\ud800", "１２", "\x00"]
    lines = [json.dumps({"verifier": "math", "answer": "5", "response": text}) for text in texts]
    lines.append(json.dumps({"verifier": "math", "answer": "5", "response": "\u2028 \x85"}, ensure_ascii=False))
    out, err = io.BytesIO(), io.StringIO()
    file = io.BytesIO("\n".join([*lines, '{"a": "\u2028"']).encode())
    assert grade_dump(file, out, err, jobs=2)["bad rows"] == 1
    assert [json.loads(line)["response"] for line in out.getvalue().split(b"\n") if line] == [*texts, "\u2028 \x85"]


def children_of(process: int) -> set[int]:
    """Every process below this one, by /proc."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, level = set(), {process}
    while level:
        level = {child for child, parent in parents.items() if parent in level}
        found |= level
    return found


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return true()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.faults)])
def test_nothing_outlives_a_command_that_was_stopped(tmp_path: Path, number: signal.Signals) -> None:
    code = {"entry": "f", "tests": [{"input": [1], "expected": 2}], "completion": "def f(x):\n    while True: pass"}
    (tmp_path / "rows.jsonl").write_text("\n".join([BOMB, json.dumps(code)] * 40) + "\n")
    command = [
        sys.executable, "-P", "-m", "pipeline.commands.cli", "grade", str(tmp_path / "rows.jsonl"), "--jobs", "2"
    ]
    def heeds_interrupts() -> None:  # which tests that were started in the background hand down ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=heeds_interrupts
    ) as process:
        # Two that grade rows, and below them sympy's and the sandbox's.
        assert wait_until(lambda: len(children_of(process.pid)) >= 6, 60)
        below = children_of(process.pid)
        os.kill(process.pid, number)
        _, error = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert (process.returncode, error) == (130, "stopped\n")
    assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), 30)
