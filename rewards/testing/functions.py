"""A function called on inputs: {"entry": "add", "tests": [{"input": [1, 2], "expected": 3}]}.

`input` is the list of positional arguments. A list and a tuple are alike, since JSON has one of them, unless a test
says `"type": "tuple"` (or "list") of what is to be returned; `"also": [..]` are other values that are right. The entry
"Solution().add" is a method, called on a new instance for each test, or a function of its name. With "compare": "loose"
numbers are the same where Python's == says so, or, with a "tolerance", where a float is expected and the number is so
near to it, absolutely or relative to it. Expected values stay here.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rewards.sandbox.frames import Ended, Late
from rewards.sandbox.imports import named_in
from rewards.sandbox.pool import sandbox
from rewards.sandbox.processes import Zygote
from rewards.sandbox.values import decoded, encoded
from rewards.testing.agreement import agrees
from rewards.testing.finding import BadTests, Finding, Limits, one_line, short

_ENTRY = re.compile(r"(?:[^\W\d]\w*\(\)\.)?[^\W\d]\w*")
_TYPES = {"list": list, "tuple": tuple}
_NOT_AN_ANSWER = (ValueError, TypeError, RecursionError, IndexError, OverflowError, AttributeError)
"""What reading hostile bytes may raise."""


def find(code: str, answer: Mapping[str, Any], limits: Limits) -> Finding:
    """Call the function of a program on the input of every test, in one child, and count the expected results.

    Raises BadTests, SandboxError, and what a run raises.
    """
    require(answer)
    entry, tests = answer["entry"], answer["tests"]
    inputs = [list(test["input"]) for test in tests]
    task = {"mode": "call", "prelude": answer.get("prelude", ""), "code": code, "entry": entry, "inputs": inputs}
    try:
        # JSON would make text of such keys; most inputs have none, and go as they are.
        if any(isinstance(one, dict) and not all(isinstance(key, str) for key in one) for row in inputs for one in row):
            task |= {"inputs": [json.loads(encoded(row)) for row in inputs], "typed": True}
        if limits.each is None:
            frames, late = [sandbox.answer(task, limits.seconds, limits.megabytes)], False
        else:
            frames, late = _one_by_one({**task, "apart": True}, limits)
    except (TypeError, ValueError) as error:
        raise BadTests(f"an input is not plain data: {error}") from error
    loose, tolerance = answer.get("compare") == "loose", float(answer.get("tolerance", 0))
    finding = _judged(frames, tests, loose=loose, tolerance=tolerance,
                      else_said=limits.too_late if late else "no answer")
    return replace(finding, late=late)


def require(answer: Mapping[str, Any]) -> None:
    """Raises BadTests for tests that no program could be put to, as far as their form says so."""
    entry, tests = answer.get("entry"), answer["tests"]
    if not isinstance(entry, str) or not _ENTRY.fullmatch(entry):
        raise BadTests('write {"entry": "f", "tests": [{"input": [1], "expected": 3}]}')
    for test in tests:
        if not isinstance(test, Mapping) or not isinstance(test.get("input"), list | tuple) or "expected" not in test:
            raise BadTests(f'a test is {{"input": [..], "expected": ..}}, not {str(test)[:80]}')
        if test.get("type", "list") not in _TYPES:
            raise BadTests(f'the "type" of a test is "list" or "tuple", not {str(test["type"])[:80]}')
        if not isinstance(test.get("also", []), list | tuple):
            raise BadTests(f'"also" is the list of other values that are right, not {str(test["also"])[:80]}')


def _one_by_one(task: Mapping[str, Any], limits: Limits) -> tuple[list[bytes], bool]:
    """(a frame for each input, as far as there are any; whether the next would have been late). Each has its own
    seconds. Raises TooMuch, SandboxError, and Late or Ended where the first has none."""
    modules = named_in(task["prelude"] + "\n" + task["code"])

    def ask(zygote: Zygote) -> tuple[list[bytes], bool]:
        frames: list[bytes] = []
        with zygote.run(limits.seconds, limits.megabytes, modules) as run:
            run.give(task)
            run.start()
            end = run.deadline
            for _ in task["inputs"]:
                run.deadline = min(end, time.monotonic() + limits.a_test)
                try:
                    frames.append(run.receive())
                except (Ended, Late) as error:
                    if not frames:
                        raise
                    return frames, isinstance(error, Late)
        return frames, False

    return sandbox.attempted(ask, [modules])


def _judged(frames: Sequence[bytes], tests: Sequence[Mapping[str, Any]], *, loose: bool, tolerance: float,
            else_said: str) -> Finding:
    """`else_said` is said of tests without an outcome."""
    try:
        outcomes = []
        for frame in frames:
            some = json.loads(frame)
            if not isinstance(some, list) or not all(isinstance(o, list) and len(o) == 2 for o in some):
                raise ValueError("not a list of outcomes")
            outcomes += some
        # The frame is whatever the process wrote: a program can write to the channel in place of its runner.
        if len(outcomes) > len(tests):
            raise ValueError("more answers than questions")
        complaints = [_complaint(what, value, test, loose, tolerance)
                      for (what, value), test in zip(outcomes, tests, strict=False)]
    except _NOT_AN_ANSWER:
        return Finding(0, len(tests), "what the process wrote is not an answer")
    # A program that exits in the middle, or is too slow there, has answered the tests before.
    complaints += [else_said] * (len(tests) - len(complaints))
    passed = sum(not complaint for complaint in complaints)
    first = next((f"test {number}: {complaint}" for number, complaint in enumerate(complaints, 1) if complaint), "")
    return Finding(passed, len(tests), first)


def _complaint(what: object, value: object, test: Mapping[str, Any], loose: bool, tolerance: float) -> str:
    """"" where the outcome is what the test expects. Raises what reading hostile bytes may."""
    if what != "value":
        return one_line(value)
    expected, others = test["expected"], test.get("also", ())
    returned = decoded(value, most_keys=len(repr((expected, *others))))  # a larger one cannot be equal
    if "type" in test and type(returned) is not _TYPES[test["type"]]:
        return f"{short(returned)} is no {test['type']}"
    if any(agrees(one, returned, loose=loose, tolerance=tolerance) for one in (expected, *others)):
        return ""
    return f"{short(returned)} where {short(expected)} is expected"
