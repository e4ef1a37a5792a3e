"""A script that reads standard input and prints: {"tests": [{"stdin": "3 4\\n", "stdout": "7\\n"}]}.

Each test runs the script in a process of its own. What is printed, or written by `os.write(1, ..)`, is compared line by
line, without white space at the ends of lines and empty lines at the end. With "compare": "loose" it is compared word
by word, line by line without the empty ones: words that are written otherwise are the same where both are the same
decimal number, or, with a "tolerance", where the expected one is a decimal and the other number is so near to it,
absolutely or relative to it.
"""

import json
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rewards.sandbox.frames import Ended, Late, TooMuch
from rewards.sandbox.pool import sandbox
from rewards.testing.finding import BadTests, Finding, Limits, one_line, short

_LONGEST_NUMBER = 400
"""Characters of words that are compared as numbers, rather than as text."""


def find(code: str, answer: Mapping[str, Any], limits: Limits) -> Finding:
    """Run a script once for every test and count the expected outputs.

    A test that is over its own seconds, or those that all tests share, is the last. Raises BadTests and SandboxError.
    """
    require(answer)
    tests = answer["tests"]
    tolerance = None if answer.get("compare") != "loose" else Decimal(repr(float(answer.get("tolerance", 0))))
    passed, reason, left = 0, "", limits.seconds
    for number, test in enumerate(tests, 1):
        began = time.monotonic()
        task = {"mode": "print", "prelude": answer.get("prelude", ""), "code": code, "stdin": test["stdin"]}
        try:
            said, complaint = _printed(task, min(left, limits.a_test), limits.megabytes)
        except Late:
            return Finding(passed, len(tests), reason or f"test {number}: {limits.too_late}", late=True)
        if not complaint and not _agree(said, test["stdout"], tolerance):
            complaint = f"{short(said)} where {short(test['stdout'])} is expected"
        # The tests share the seconds: the one in which they end, and no other, is late.
        left = max(left - (time.monotonic() - began), 0.001)
        passed += not complaint
        if complaint and not reason:
            reason = f"test {number}: {complaint}"
    return Finding(passed, len(tests), reason)


def require(answer: Mapping[str, Any]) -> None:
    """Raises BadTests for what is no test of a script."""
    for test in answer["tests"]:
        if not isinstance(test, Mapping) or not all(isinstance(test.get(name), str) for name in ("stdin", "stdout")):
            raise BadTests(f'a test of a script is {{"stdin": "..", "stdout": ".."}}, not {str(test)[:80]}')


def _printed(task: Mapping[str, Any], seconds: float, megabytes: int) -> tuple[str, str]:
    """(what the script printed, why that is nothing or ""). Raises Late, SandboxError."""
    try:
        what, said = json.loads(sandbox.answer(task, seconds, megabytes))
    except Ended as error:
        return "", f"the process ended without an answer ({error})"
    except (TooMuch, ValueError, TypeError, RecursionError):
        return "", "what the process wrote is not an answer"
    return (said, "") if what == "value" and isinstance(said, str) else ("", one_line(said))


def _agree(said: str, expected: str, tolerance: Decimal | None) -> bool:
    if tolerance is None:
        return _lines(said) == _lines(expected)
    ours, theirs = ([line.split() for line in text.splitlines() if line.strip()] for text in (expected, said))
    return len(ours) == len(theirs) and all(
        len(one) == len(other) and all(_same(a, b, tolerance) for a, b in zip(one, other, strict=True))
        for one, other in zip(ours, theirs, strict=True))


def _same(expected: str, word: str, tolerance: Decimal) -> bool:
    if expected == word:
        return True
    if max(len(expected), len(word)) > _LONGEST_NUMBER:
        return False
    try:
        wanted, given = Decimal(expected), Decimal(word)
        if not (wanted.is_finite() and given.is_finite()):
            return False
        # Integers are exact: between 10**9 and its neighbour lies less than most tolerances.
        if wanted == given or not tolerance or not any(sign in expected for sign in ".eE"):
            return wanted == given
        return abs(wanted - given) <= tolerance * max(Decimal(1), abs(wanted))
    except ArithmeticError:  # no number, or one that no Decimal can hold
        return False


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines
