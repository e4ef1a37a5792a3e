"""A function called on inputs: {"entry": "add", "tests": [{"input": [1, 2], "expected": 3}]}.

`input` is the list of positional arguments. A list and a tuple are alike, since JSON has one of them, unless a test
says `"type": "tuple"` (or "list") of what is to be returned. Expected values stay here.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.sandbox.pool import sandbox
from rewards.sandbox.values import decoded
from rewards.testing.agreement import agrees
from rewards.testing.finding import BadTests, Finding, Limits, one_line, short

_TYPES = {"list": list, "tuple": tuple}
_NOT_AN_ANSWER = (ValueError, TypeError, RecursionError, IndexError, OverflowError, AttributeError)
"""What reading hostile bytes may raise."""


def find(code: str, answer: Mapping[str, Any], limits: Limits) -> Finding:
    """Call the function of a program on the input of every test, in one child, and count the expected results.

    Raises BadTests, SandboxError, and what a run raises.
    """
    entry, tests = answer.get("entry"), answer["tests"]
    if not isinstance(entry, str):
        raise BadTests('write {"entry": "f", "tests": [{"input": [1], "expected": 3}]}')
    for test in tests:
        if not isinstance(test, Mapping) or not isinstance(test.get("input"), list | tuple) or "expected" not in test:
            raise BadTests(f'a test is {{"input": [..], "expected": ..}}, not {str(test)[:80]}')
        if test.get("type", "list") not in _TYPES:
            raise BadTests(f'the "type" of a test is "list" or "tuple", not {str(test["type"])[:80]}')
    task = {"mode": "call", "code": code, "entry": entry, "inputs": [list(test["input"]) for test in tests]}
    try:
        data = sandbox.answer(task, limits.seconds, limits.megabytes)
    except (TypeError, ValueError) as error:
        raise BadTests(f"an input is not plain data: {error}") from error
    return _judged(data, tests)


def _judged(data: bytes, tests: Sequence[Mapping[str, Any]]) -> Finding:
    try:
        outcomes = json.loads(data)
        if not isinstance(outcomes, list) or not all(isinstance(o, list) and len(o) == 2 for o in outcomes):
            raise ValueError("not a list of outcomes")
        # The frame is whatever the process wrote: a program can write to the channel in place of its runner.
        if len(outcomes) > len(tests):
            raise ValueError("more answers than questions")
        complaints = [_complaint(what, value, test) for (what, value), test in zip(outcomes, tests, strict=False)]
    except _NOT_AN_ANSWER:
        return Finding(0, len(tests), "what the process wrote is not an answer")
    # A program that exits in the middle has answered the tests before.
    complaints += ["no answer"] * (len(tests) - len(complaints))
    passed = sum(not complaint for complaint in complaints)
    first = next((f"test {number}: {complaint}" for number, complaint in enumerate(complaints, 1) if complaint), "")
    return Finding(passed, len(tests), first)


def _complaint(what: object, value: object, test: Mapping[str, Any]) -> str:
    """"" where the outcome is what the test expects. Raises what reading hostile bytes may."""
    if what != "value":
        return one_line(value)
    expected = test["expected"]
    returned = decoded(value, most_keys=len(repr(expected)))  # a larger one cannot be equal
    if "type" in test and type(returned) is not _TYPES[test["type"]]:
        return f"{short(returned)} is no {test['type']}"
    return "" if agrees(expected, returned) else f"{short(returned)} where {short(expected)} is expected"
