"""The processes of the slow path end with whoever asked, however busy they are."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ASK = """
from rewards.grade import grade
from rewards.types import Completion, Problem
grade(Problem("", "", "\\\\sin 1", "math", ""), Completion("\\\\cos 1"))
print("ready", flush=True)
grade(Problem("", "", "\\\\sin 1", "math", ""), Completion("\\\\boxed{\\\\tan(10^{10^{20}})}"))
"""


def descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in tasks.read_text().split()]
    return found[1:]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_killed_grader_leaves_nobody_at_work() -> None:
    home = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": home}
    with subprocess.Popen([sys.executable, "-c", ASK], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)  # it is at the bomb
        below = descendants(process.pid)
        assert len(below) >= 2  # the one that forks, and the one at work
        for pid in below[:1]:  # what Worker.kill does, and a machine short of memory may do
            os.kill(pid, signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in below):
        assert time.monotonic() < until, "still at work"
        time.sleep(0.05)
