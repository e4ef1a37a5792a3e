"""Programs are run apart from this process, and state answers, never verdicts."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewards.code import _remembered as remembered
from rewards.code import agrees
from rewards.grade import grade, grade_many, unusable
from rewards.sandbox.pool import sandbox
from rewards.types import Completion, Label, Problem, Verdict
from tests.rewards.honest import HONEST, NEAR_MISSES

Rows = Callable[[str], list[dict[str, Any]]]

TESTS = [{"input": [1, 2], "expected": 3}, {"input": [10, -4], "expected": 6}]


def run(program: str, tests: list[dict[str, Any]] | None = None, entry: str = "add", **options: Any) -> Verdict:
    answer = {"entry": entry, "tests": TESTS if tests is None else tests, **options}
    return grade(Problem("p", "", answer, "code", ""), Completion(program))


def test_right_and_wrong() -> None:
    assert run("def add(a, b): return a + b").correct
    wrong = run("def add(a, b): return a - b")
    assert wrong.label is Label.WRONG
    assert wrong.reason == "test 1: -1 where 3 is expected"
    assert run("<think>easy</think><answer>\nadd = lambda a, b: a + b\n</answer>").correct
    assert run("<think>def add(a, b): return a + b").label is Label.NO_ANSWER


def test_examples(rows: Rows) -> None:
    for row in rows("code_grading_examples.jsonl"):
        start = time.monotonic()
        verdict = run(row["completion"], row["tests"], row["entry"], seconds=1.5)
        assert verdict.correct == row["correct"], (row["name"], verdict)
        assert time.monotonic() - start < 2.5, row["name"]
    assert not Path("/tmp/sbx_pwned").exists()


@pytest.mark.parametrize(
    "program",
    [
        "import os; os._exit(0)",
        "import sys; sys.exit(0)",
        "raise SystemExit(0)",
        "raise KeyboardInterrupt",
        "def add(a, b):\n    import os\n    if os.fork(): os._exit(0)\n    return a + b",
        "import os\ndef add(a, b):\n    for n in range(64):\n        os.write(n, b'[[\"value\",3],[\"value\",6]]')\n  "
        "  return 0",
        "open('/tmp/retort_pwned', 'w')\ndef add(a, b): return a + b",
        "import socket\ns = socket.socket()\ndef add(a, b): return a + b",
        "import os\nos.pipe()\ndef add(a, b): return a + b",
        "import asyncio.__main__\ndef add(a, b): return 0",
        "def add(a, b): return '3'",
        "def add(a, b): return [a + b]",
        "def add(a, b): return float(a + b)",
        "add = 3",
        "x = bytearray(1 << 40)",
        "def add(a, b): return 'x' * (1 << 24)",
        "def add(a, b): return add(a, b)",
        "def add(a, b)",
        "",
        "🙂",
        "\udcff",
    ],
)
def test_none_of_these_is_correct(program: str) -> None:
    assert not run(program).correct
    assert run("def add(a, b): return a + b").correct
    assert not Path("/tmp/retort_pwned").exists()


def test_endless_loops_end_at_the_deadline() -> None:
    for program in ("while True: pass", "import time; time.sleep(60)", "sum(iter(int, 1))"):
        start = time.monotonic()
        verdict = run(f"def add(a, b): return 0\n{program}", seconds=0.5)
        assert verdict.label is Label.WRONG
        assert "within 0.5 s" in verdict.reason
        assert time.monotonic() - start < 1.5


@pytest.mark.parametrize(
    "program",
    [
        "print('noise')\ndef add(a, b):\n    import sys\n    print(a, file=sys.stderr)\n    return a + b",
        "import dataclasses, datetime, decimal, random, statistics\ndef add(a, b): return a + b",
        "from collections.abc import Iterable\nfrom typing import *\ndef add(a, b): return a + b",
        "def add(a, b): return a + b\nif __name__ == '__main__':\n    raise SystemExit(1)",
        "import sys\nsys.stdout.flush()\nsys.stdout.buffer.write(b'x')\ndef add(a, b): return a + b",
        "class I(int): pass\ndef add(a, b): return I(a + b)",
        "def add(a, b):\n    x = bytearray(100 << 20)\n    return a + b",
    ],
)
def test_honest_and_unusual(program: str) -> None:
    assert run(program).correct


@pytest.mark.parametrize("name", HONEST)
def test_honest_whatever_its_style(name: str) -> None:
    verdict = run(HONEST[name])
    assert verdict.correct, verdict


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses(name: str) -> None:
    assert run(NEAR_MISSES[name]).label is Label.WRONG


def test_a_block_of_usage_behind_the_program_is_not_the_program() -> None:
    text = "```python\n{}\n```\nUsed like this:\n```python\nprint(add(1, 2))\n```\n"
    assert run(text.format("def add(a, b): return a + b")).correct
    assert run(text.format("class Solution:\n    def add(self, a, b): return a + b"), entry="Solution().add").correct
    assert run(text.format("def add(a, b): return a - b")).label is Label.WRONG
    assert run(text.format("def plus(a, b): return a + b")).label is Label.WRONG


def test_a_list_is_no_tuple_where_the_test_says_so() -> None:
    alike = {"input": [1], "expected": [1, 2]}
    for kind, right in (("list", "[1, 2]"), ("tuple", "(1, 2)")):
        for value in ("[1, 2]", "(1, 2)"):
            assert run(f"def f(x): return {value}", [{**alike, "type": kind}], "f").correct == (value == right)
            assert run(f"def f(x): return {value}", [alike], "f").correct
    assert run("def f(x): return [1, 2]", [{**alike, "type": "set"}], "f").label is Label.UNGRADABLE


def test_the_share_of_tests_that_are_passed() -> None:
    tests = [*TESTS, {"input": [1, 1], "expected": 2}, {"input": [0, 0], "expected": 0}]
    assert run("def add(a, b): return a + b", tests).share == 1.0
    assert run("def add(a, b): return a + b if a else 1 // 0", tests).share == 0.75
    assert run("def add(a, b):\n    if not a: raise SystemExit\n    return a + b", tests).share == 0.75
    assert run("def add(a, b): return 'x'", tests).share == 0.0
    assert run("import os\nos._exit(0)", tests).share == 0.0


def test_a_test_that_is_too_slow_costs_itself_and_those_behind_it() -> None:
    tests = [{"input": [x], "expected": x} for x in range(4)]
    slow = "def f(x):\n    while x == 2: pass\n    return x"
    verdict = run(slow, tests, "f", each=1)
    assert (verdict.label, verdict.share, verdict.reason) == (Label.WRONG, 0.5, "test 3: no answer within 1 s")
    assert run(slow.replace("== 2", "< 2"), tests, "f", each=0.3).share == 0.0


def test_what_a_deadline_decided_is_not_remembered() -> None:
    tests = [{"input": [x], "expected": x} for x in range(2)]
    kept = len(remembered)
    assert run("def f(x):\n    while x == 1: pass\n    return x", tests, "f", each=1).share == 0.5
    assert len(remembered) == kept
    assert run("def f(x): return 0 * x", tests, "f", each=5).share == 0.5
    assert len(remembered) == kept + 1


def test_values_of_every_plain_type() -> None:
    value = [None, True, 7, -(10**40), 0.5, "ä", [1, [2]], {"a": {"b": 1.5}}, 10**40]
    tests = [{"input": [value], "expected": value}]
    assert run("def same(x): return x", tests, "same").correct
    assert run("def same(x): return tuple(x)", tests, "same").correct
    assert not run("def same(x): return x[:-1]", tests, "same").correct


@pytest.mark.parametrize(
    ("expected", "actual", "right"),
    [
        (1, True, False), (True, 1, False), (1, 1.0, False), (1.0, 1, True), (0.3, 0.1 + 0.2, True),
        (0.0, 1e-12, False), (1e-12, 2e-12, False), (1e12, 1e12 + 1e4, False), (2.5, float("inf"), False),
        (float("inf"), float("inf"), True), (float("nan"), float("nan"), True), (float("nan"), 1.0, False),
        (1.0, 10**400, False), ([1, 2], (1, 2), True), ([1], {1}, False), ({"a": 1}, {"a": True}, False),
        ({1: 2}, {True: 2}, False), ({1}, {True}, False), ("a", "a", True), (None, None, True), (None, 0, False),
        ([], "", False),
    ],
)  # fmt: skip
def test_agreement(expected: Any, actual: Any, right: bool) -> None:
    assert agrees(expected, actual) is right


@pytest.mark.parametrize(
    ("expected", "actual", "right"),
    [
        (1, True, True), (True, 1, True), (1, 1.0, True), (1, 1.0000000001, False), (1.0, True, True), (2.5, 2, False),
        (10**18 + 1, 1e18, False), (0.3, 0.1 + 0.2, True), ([1, [0]], (True, [False]), True),
        ({"a": 1}, {"a": 1.0}, True), ({"a": 1}, {"a": 2}, False), ("1", 1, False), (1, "1", False),
        (None, 0, False), (0, None, False), ([], 0, False),
        (float("nan"), float("nan"), True), (1, float("nan"), False),
    ],
)  # fmt: skip
def test_agreement_as_python_has_it(expected: Any, actual: Any, right: bool) -> None:
    assert agrees(expected, actual, loose=True) is right


@pytest.mark.parametrize(
    ("expected", "actual", "right"),
    [
        (0.5, 0.5009, True), (0.5, 0.502, False), (2000.0, 2001, True), (2000.0, 2003.0, False), (0.0, 1e-4, True),
        ([0.5, {"a": (1.0,)}], [0.5001, {"a": [0.9999]}], True), ([0.5, {"a": (1.0,)}], [0.5, {"a": [0.9]}], False),
        (5, 5.0001, False), (5, 5.0, True), (float("nan"), 0.0, False), (float("inf"), 1e300, False),
        (1e308, -1e308, False), (0.5, "0.5", False), (1.0, 10**400, False),
    ],
)  # fmt: skip
def test_what_a_function_returns_may_be_within_a_tolerance(expected: Any, actual: Any, right: bool) -> None:
    assert agrees(expected, actual, loose=True, tolerance=1e-3) is right


def test_the_tolerance_of_an_answer_is_for_functions_too() -> None:
    tests, options = [{"input": [1], "expected": 0.5}], {"compare": "loose", "tolerance": 1e-3}
    assert run("def f(x): return 0.5001", tests, "f", **options).correct
    assert run("def f(x): return 0.5001", tests, "f", **options, each=2).correct
    assert run("def f(x): return 0.51", tests, "f", **options).label is Label.WRONG
    assert run("def f(x): return 0.5001", tests, "f", compare="loose").label is Label.WRONG


def test_an_option_that_is_not_there_is_told() -> None:
    for options, said in (({"tolerence": 1e-3}, "an answer has no 'tolerence'; it may have entry, tests"),
                          ({"tolerance": 1e-3}, 'write "compare": "loose"')):
        verdict = run("def add(a, b): return a + b", **options)
        assert verdict.label is Label.UNGRADABLE
        assert said in verdict.reason
        assert said in unusable("code", {"entry": "add", "tests": TESTS, **options})


def test_what_runs_before_a_program_and_what_is_right_too() -> None:
    tests = [{"input": [[1, 2]], "expected": 1, "also": [[1]]}, {"input": [[3]], "expected": 3}]
    options = {"entry": "Solution().first", "prelude": "from math import *\nONE = 1", "compare": "loose", "each": 1}
    for program in ("def first(x): return floor(x[0])", "class Solution:\n    def first(self, x): return x[0] * ONE",
                    "from __future__ import annotations\ndef first(x: Any): return [1] if len(x) > 1 else 3.0"):
        assert run(program, tests, **options).correct, program
    assert run("def first(x): return [x[0]]", tests, **options).share == 0.5
    assert run("def first(x): return ONE", tests, entry="first").reason.startswith("test 1: NameError")


@pytest.mark.parametrize(
    "answer",
    ["x", {}, {"entry": "f"}, {"entry": "f", "tests": []}, {"entry": "f", "tests": [{"input": 3, "expected": 1}]},
     {"entry": "f", "tests": [{"input": [1]}]}, {"entry": "f", "tests": [{"input": [object()], "expected": 1}]},
     {"entry": "f", "tests": [{"input": [1], "expected": 1}], "seconds": "long"},
     *({"entry": "f", "tests": [{"input": [1], "expected": 1}], **wrong} for wrong in (
         {"each": 0}, {"each": "x"}, {"compare": "strict"}, {"tolerance": 2}, {"prelude": 3}, {"entry": "f.g"},
         {"entry": "f()"}, {"tests": [{"input": [1], "expected": 1, "also": 1}]}))],
)  # fmt: skip
def test_tests_that_cannot_be_read_are_ungradable(answer: Any) -> None:
    verdict = grade(Problem("p", "", answer, "code", ""), Completion("def f(x): return x"))
    assert verdict.label is Label.UNGRADABLE


def zygote_pid() -> int:
    with sandbox.pool.worker() as zygote:
        return zygote.pid


def test_a_killed_zygote_costs_nothing_but_time() -> None:
    os.kill(zygote_pid(), signal.SIGKILL)
    assert run("def add(a, b): return a + b + 0").correct
    killer = threading.Timer(0.3, os.kill, (zygote_pid(), signal.SIGKILL))
    killer.start()
    assert run("import time\ndef add(a, b):\n    time.sleep(0.4)\n    return a + b").correct


def test_a_forked_process_starts_its_own() -> None:
    run("def add(a, b): return a + b")
    mine = zygote_pid()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            right = run("def add(a, b): return b + a").correct
            os.write(write, b"own" if right and zygote_pid() != mine else b"shared")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"own"
    os.close(read)
    os.close(write)
    assert zygote_pid() == mine
    assert run("def add(a, b): return b + a").correct


def test_many_at_once_come_in_order() -> None:
    pairs = []
    for number in range(40):
        answer = {"entry": "f", "tests": [{"input": [1], "expected": 1 + number % 3}]}
        pairs.append((Problem(str(number), "", answer, "code", ""), Completion(f"def f(x): return x + 1  # {number}")))
    labels = [verdict.label for verdict in grade_many(pairs, jobs=2)]
    assert labels == [verdict.label for verdict in grade_many(pairs)]
    assert [label is Label.CORRECT for label in labels] == [number % 3 == 1 for number in range(40)]


def test_the_host_is_as_it_was() -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGCHLD, signal.SIGTERM)}
    run("import os, signal\nos.killpg(0, signal.SIGTERM)\ndef add(a, b): return a + b")
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert run("def add(a, b): return a + b  # again").correct
