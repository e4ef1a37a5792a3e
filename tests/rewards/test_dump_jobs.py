"""`retort grade --jobs N`: processes that share the rows, and what happens to them when something dies."""

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

from rewards import dump
from rewards.dump import grade_dump, grade_lines

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
    monkeypatch.setattr(dump, "SECONDS_A_ROW", 0.5)
    texts = [{7: "die", 40: "hang", 41: "die"}.get(number, f"row {number}") for number in range(1, 101)]
    verifier = f"{tmp_path / 'fragile.py'}:fragile"
    lines = [json.dumps({"verifier": verifier, "answer": "", "completion": text}) for text in texts]
    out, err = io.StringIO(), io.StringIO()
    counts = grade_dump(lines, out, err, jobs=2)
    assert counts == {"correct": 97, "bad rows": 3}
    graded = [json.loads(line)["completion"] for line in out.getvalue().splitlines()]
    assert graded == [text for text in texts if text not in ("die", "hang")]
    assert err.getvalue().splitlines()[:3] == [
        "line 7: the process that graded this row died",
        "line 40: the process that graded this row hung",
        "line 41: the process that graded this row died",
    ]


def test_rows_come_before_the_last_is_read() -> None:
    read = 0

    def lines() -> "object":
        nonlocal read
        for _ in range(5_000):
            read += 1
            yield json.dumps({"verifier": "math", "answer": "5", "response": "5"})

    rows = grade_lines(lines(), jobs=2)  # type: ignore[arg-type]
    assert next(rows)[0] == 1
    assert read < 1_000
    rows.close()


def test_what_stands_in_a_row_survives_the_way_to_a_process_and_back() -> None:
    texts = ["é \u2028 \x85 \r \\n", "\ud800", "１２", "\x00"]
    lines = [json.dumps({"verifier": "math", "answer": "5", "response": text}) for text in texts] + ['{"a": "\u2028"']
    out, err = io.StringIO(), io.StringIO()
    assert grade_dump(lines, out, err, jobs=2)["bad rows"] == 1
    assert [json.loads(line)["response"] for line in out.getvalue().split("\n") if line] == texts


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
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_a_command_that_was_stopped(tmp_path: Path, number: signal.Signals) -> None:
    code = {"entry": "f", "tests": [{"input": [1], "expected": 2}], "completion": "def f(x):\n    while True: pass"}
    (tmp_path / "rows.jsonl").write_text("\n".join([BOMB, json.dumps(code)] * 40) + "\n")
    command = [sys.executable, "-P", "-m", "pipeline.cli", "grade", str(tmp_path / "rows.jsonl"), "--jobs", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        # Two that grade rows, and below them sympy's and the sandbox's.
        assert wait_until(lambda: len(children_of(process.pid)) >= 6, 60)
        below = children_of(process.pid)
        os.kill(process.pid, number)
        _, error = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert (process.returncode, error) == (130, "stopped\n")
    assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), 30)
