"""How many programs a second one core grades: in the sandbox, and beside it by a cold interpreter that isolates
nothing."""

import itertools
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rewards.grade import grade
from rewards.sandbox.levels import Level
from rewards.sandbox.pool import sandbox
from rewards.types import Completion, Problem

TESTS = [{"input": [1, 2], "expected": 3}, {"input": [10, -4], "expected": 6}, {"input": [0, 0], "expected": 0}]
PROBLEM = Problem("bench", "", {"entry": "add", "tests": TESTS}, "code", "bench")
COLD = "import json\n{code}\nprint(json.dumps([add(*arguments) for arguments in [[1, 2], [10, -4], [0, 0]]]))"
ROUNDS = 8


@dataclass(frozen=True)
class Rate:
    """Runs a second, over `rounds` rounds."""

    median: float
    least: float
    most: float
    rounds: int


def measure(most: Level, seconds: float) -> tuple[Level, dict[str, Rate]]:
    """The level that was reached, and the rate of each way; their rounds take turns, so that load hits both alike.

    Every program differs, since equal ones are graded once. Raises SandboxError.
    """
    numbers = itertools.count()

    def sandboxed() -> None:
        verdict = grade(PROBLEM, Completion(_program(next(numbers))))
        if not verdict.correct:
            raise RuntimeError(f"a right program was graded {verdict.label}: {verdict.reason}")

    def cold() -> None:
        code = COLD.format(code=_program(next(numbers)))
        done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True, timeout=60)
        if done.stdout != b"[3, 6, 0]\n":
            raise RuntimeError(f"a right program answered {done.stdout!r}")

    ways = {"sandbox": sandboxed, "cold python -I, no sandbox": cold}
    with _one_core():
        before, sandbox.most = sandbox.most, most
        sandbox.pool.close()
        try:
            level = sandbox.report().level
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    rates[name].append(_rate(way, seconds / ROUNDS))
        finally:
            sandbox.most = before
            sandbox.pool.close()
    return level, {name: Rate(statistics.median(some), min(some), max(some), len(some)) for name, some in rates.items()}


def _program(number: int) -> str:
    return f"def add(a, b):\n    return a + b  # {number}"


def _rate(way: Callable[[], None], seconds: float) -> float:
    way()
    began = time.perf_counter()
    for done in itertools.count(1):
        way()
        took = time.perf_counter() - began
        if took >= seconds:
            return done / took
    raise AssertionError


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this thread and what it starts on one core, where the system lets us."""
    if platform.system() != "Linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
