"""Zygotes: one run each in a fresh child, nothing remembered, healed after anything."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rewards.code import forget
from rewards.grade import grade, grade_many
from rewards.sandbox.frames import Ended, Late, TooMuch
from rewards.sandbox.imports import imported, named_in
from rewards.sandbox.levels import Level, level_of
from rewards.sandbox.pool import Sandbox, sandbox
from rewards.sandbox.processes import Gone, Report, SandboxError, Zygote
from rewards.types import Completion, Label, Problem


def ask(
    zygote: Zygote, code: str, inputs: list[list[object]] | None = None, seconds: float = 5, megabytes: int = 512
) -> object:
    with zygote.run(seconds, megabytes, named_in(code)) as run:
        run.give({"mode": "call", "code": code, "entry": "f", "inputs": inputs or [[1]]})
        return json.loads(run.receive())


def test_levels_need_what_is_below_them() -> None:
    assert level_of([]) is Level.L1
    assert level_of(["landlock", "namespaces"]) is Level.L1
    assert level_of(["seccomp", "namespaces"]) is Level.L2
    assert level_of(["seccomp", "landlock", "namespaces"]) is Level.L4


def test_a_report_says_what_is_missing() -> None:
    report = Report(Level.L2, {"seccomp": "", "landlock": "no"}, {"kill": "EPERM", "open": ""})
    assert report.line == "L2, a system call filter that opens nothing (landlock: no; a program can open)"


def test_the_level_here_is_tried_in_a_program() -> None:
    report = sandbox.report()
    assert set(report.refused) == {"socket", "open", "fork", "kill"}
    if report.level > Level.L1:
        assert set(report.refused.values()) == {"EPERM"}
        assert report.layers["seccomp"] == ""


def test_a_program_has_its_channel_and_nothing_else() -> None:
    zygote = Zygote()
    code = (
        "import os\ndef f(x):\n    found = []\n    for n in range(64):\n        try: os.read(n, 0); "
        "found.append(n)\n        except OSError: pass\n    return found, dict(os.environ)"
    )
    assert ask(zygote, code) == [
        ["value", ["tuple", ["list", 3], ["dict", ["PATH", os.defpath], ["LC_ALL", "C.UTF-8"]]]]
    ]
    zygote.kill()


def test_each_run_is_a_fresh_child() -> None:
    zygote = Zygote()
    code = "import builtins, sys\nseen = getattr(builtins, 'mark', 0)\nbuiltins.mark = 1\ndef f(x): return seen"
    assert ask(zygote, code) == ask(zygote, code) == [["value", 0]]
    assert zygote.starts == 1
    zygote.kill()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="reads another process's memory")
def test_nothing_of_a_run_stays_in_the_zygote() -> None:
    zygote = Zygote(Level.L3)  # without namespaces the process that was started is the zygote itself
    code = "secret = 'in the ' + 'program 48151623'\ndef f(x): return 'in the ' + 'answer 42108642'"
    assert ask(zygote, code, [["in the input 31415926"]]) == [["value", "in the answer 42108642"]]
    memory = b""
    with open(f"/proc/{zygote.pid}/maps") as maps, open(f"/proc/{zygote.pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if "rw" in line.split()[1]:
                mem.seek(low)
                memory += mem.read(high - low)
    assert len(memory) > 1_000_000
    for word in (b"48151623", b"42108642", b"31415926"):
        assert word not in memory
    zygote.kill()


def test_what_can_go_wrong_in_a_run() -> None:
    zygote = Zygote()
    with pytest.raises(Late):
        ask(zygote, "while True: pass", seconds=0.2)
    with pytest.raises(Ended, match="code 0"):
        ask(zygote, "import os\nos._exit(0)")
    with pytest.raises(Ended, match="SIG"):
        ask(zygote, "import ctypes\nctypes.string_at(0)")
    with pytest.raises(TooMuch):
        ask(zygote, "def f(x): return 'x' * (1 << 21)")
    assert ask(zygote, "def f(x): return x") == [["value", 1]]
    assert zygote.starts == 1
    zygote.kill()


def test_a_child_that_is_not_ready_says_nothing_of_its_program() -> None:
    zygote = Zygote()
    with pytest.raises(Gone):
        ask(zygote, "x = '" + "x" * 10_000_000 + "'", megabytes=1)  # not enough to read the task
    assert ask(zygote, "def f(x): return x") == [["value", 1]]
    zygote.kill()


def test_an_idle_zygote_may_be_killed_at_any_moment() -> None:
    zygote = Zygote()
    for _ in range(3):
        os.kill(zygote.pid, signal.SIGKILL)  # dead or dying when the next run begins
        try:
            assert ask(zygote, "def f(x): return x") == [["value", 1]]
        except Gone:
            continue
    zygote.kill()


def test_a_killed_zygote_takes_its_child_along() -> None:
    zygote = Zygote()
    pid = zygote.pid
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    before = time.monotonic()
    with pytest.raises(Gone):
        ask(zygote, "while True: pass", seconds=30)
    assert time.monotonic() - before < 10
    assert ask(zygote, "def f(x): return x") == [["value", 1]]
    assert zygote.starts == 2
    zygote.kill()


def test_a_stopped_zygote_is_replaced() -> None:
    zygote = Zygote(Level.L3)
    os.kill(zygote.pid, signal.SIGSTOP)
    with pytest.raises(Late), zygote.run(0.1, 512, []):
        raise Late  # of which the stopped zygote cannot be told
    assert ask(zygote, "def f(x): return x") == [["value", 1]]
    assert zygote.starts == 2
    zygote.kill()


def test_verdicts_of_a_batch_are_right_while_zygotes_are_killed() -> None:
    forget()
    pairs = []
    for number in range(120):
        answer = {
            "entry": "f",
            "tests": [{"input": [1], "expected": 1 + number % 3}, {"input": [5], "expected": 5 + number % 3}]
        }
        program = f"import time\ndef f(x):\n    time.sleep(0.005)\n    return x + 1  # {number}"
        pairs.append((Problem(str(number), "", answer, "code", ""), Completion(program)))
    done = threading.Event()
    kills = []

    def killer() -> None:
        while not done.wait(0.5):
            for pid in _zygotes()[:1]:
                os.kill(pid, signal.SIGKILL)
                kills.append(pid)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        labels = [verdict.label for verdict in grade_many(pairs, jobs=2)]
    finally:
        done.set()
        thread.join()
    assert kills
    assert labels == [Label.CORRECT if number % 3 == 1 else Label.WRONG for number in range(120)]


def _zygotes() -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"zygote.py" in (folder / "cmdline").read_bytes() and int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            ) == os.getpid():
                found.append(int(folder.name))
        except (OSError, IndexError):
            continue
    return found


def test_nothing_runs_below_what_is_demanded() -> None:
    low = Sandbox()
    low.most, low.at_least = Level.L1, Level.L3
    task = {"mode": "call", "code": "def f(x): return x", "entry": "f", "inputs": [[1]]}
    with pytest.raises(SandboxError, match=r"^the sandbox is to be L3 at least, and here it is L1, "):
        low.answer(task, 1, 512)
    low.at_least = Level.L1
    with pytest.warns(RuntimeWarning, match="model-written programs run at L1"):
        low.answer(task, 1, 512)
    low.pool.close()


def test_zygotes_end_with_their_grader() -> None:
    code = ("import os, signal\nfrom rewards.sandbox.pool import sandbox\nsandbox.report()\n"
            "with sandbox.pool.worker() as zygote: print(zygote.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while Path(f"/proc/{int(done.stdout)}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{int(done.stdout)}").exists()


def test_an_ungradable_verdict_where_no_sandbox_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    problem = Problem("p", "", {"entry": "f", "tests": [{"input": [1], "expected": 1}]}, "code", "")
    assert grade(problem, Completion("def f(x): return x")).label is Label.UNGRADABLE


def test_modules_that_are_named() -> None:
    assert named_in(
        "import os, sys; import heapq\nif 1: from random import *\nimport pandas\n  from collections.abc import X"
    ) == [
        "collections.abc", "os", "random", "sys"]
    assert named_in("import numpy as np") == named_in("from numpy.linalg import norm") == ["numpy"]
    assert named_in("import numpyro, scipy") == []
    assert named_in("import antigravity, ctypes, socket, subprocess, test.autotest, asyncio.__main__") == []


@pytest.mark.parametrize(
    "code", [
        "import math as m, random", "import math, \\\n  random", "if 1:import random", "random = __import__('random')",
        "import importlib\nr = importlib.import_module(\"random\")", "import numpyro as np, random as r, json",
        "exec('import random')",
    ]
)  # fmt: skip
def test_modules_are_seen_in_every_form_of_an_import(code: str) -> None:
    assert "random" in named_in(code)


def test_what_a_module_is_asked_for_is_no_module() -> None:
    assert imported("from random import time\ndef f(): yield from calendar\nimportant = math.import_time") == ["random"]


def test_a_program_finds_no_module_that_only_an_earlier_one_named() -> None:
    zygote = Zygote()
    # A name that is put together is in no program's text, so that nobody could load the module for it.
    hidden = ("def f(name):\n    try: return __import__(name, None, None, ['x']).__name__\n"
              "    except ImportError: return ''")
    names = [["stat" + "istics"], ["decimal"], ["threading"], ["xml.etree"], ["asyncio"], ["random"]]
    before = ask(zygote, hidden, names)
    assert before == [["value", ""]] * len(names)
    everything = "import statistics, asyncio, xml.etree.ElementTree, random, concurrent.futures, doctest, unittest"
    assert ask(zygote, f"{everything}\ndef f(x): return x") == [["value", 1]]
    assert ask(zygote, hidden, names) == before
    # What a module imports while it is loaded comes with it, whoever had it loaded before.
    assert ask(zygote, f"import statistics\n{hidden}", names)[:2] == [["value", "statistics"], ["value", "decimal"]]
    zygote.kill()


def test_modules_are_the_same_ones_each_time() -> None:
    zygote = Zygote()
    code = ("import decimal, fractions, collections.abc, asyncio, datetime\n"
            "async def g(): return await asyncio.to_thread(len, 'ab')\n"
            "def f(x):\n    import _strptime\n    assert datetime.datetime.strptime('2024', '%Y').year == 2024\n"
            "    return fractions.Decimal is decimal.Decimal, asyncio.run(g()), hasattr(collections, 'abc')")
    first = ask(zygote, code)
    assert first == [["value", ["tuple", True, 2, True]]]
    assert ask(zygote, "import random, logging, unittest\ndef f(x): return x") == [["value", 1]]
    assert ask(zygote, code) == first
    zygote.kill()
