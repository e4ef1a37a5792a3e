"""A script that reads standard input and prints: {"tests": [{"stdin": "3 4\\n", "stdout": "7\\n"}]}.

Each test runs the script in a process of its own. What is printed is compared line by line, without white space at the
ends of lines and empty lines at the end; what is written past sys.stdout, to descriptor 1, is not seen.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from rewards.sandbox.frames import Ended, TooMuch
from rewards.sandbox.pool import sandbox
from rewards.testing.finding import BadTests, Finding, Limits, one_line, short


def find(code: str, answer: Mapping[str, Any], limits: Limits) -> Finding:
    """Run a script once for every test and count the expected outputs.

    Raises BadTests, SandboxError, and Late where the seconds are over, which all tests share.
    """
    tests = answer["tests"]
    for test in tests:
        if not isinstance(test, Mapping) or not all(isinstance(test.get(name), str) for name in ("stdin", "stdout")):
            raise BadTests(f'a test of a script is {{"stdin": "..", "stdout": ".."}}, not {str(test)[:80]}')
    passed, reason, left = 0, "", limits.seconds
    for number, test in enumerate(tests, 1):
        began = time.monotonic()
        complaint = _complaint(code, test, left, limits.megabytes)
        # The tests share the seconds: the one in which they end, and no other, raises Late.
        left = max(left - (time.monotonic() - began), 0.001)
        passed += not complaint
        if complaint and not reason:
            reason = f"test {number}: {complaint}"
    return Finding(passed, len(tests), reason)


def _complaint(code: str, test: Mapping[str, str], seconds: float, megabytes: int) -> str:
    """"" where the script prints what the test expects."""
    task = {"mode": "print", "code": code, "stdin": test["stdin"]}
    try:
        what, said = json.loads(sandbox.answer(task, seconds, megabytes))
    except Ended as error:
        return f"the process ended without an answer ({error})"
    except (TooMuch, ValueError, TypeError, RecursionError):
        return "what the process wrote is not an answer"
    if what != "value" or not isinstance(said, str):
        return one_line(said)
    return "" if _lines(said) == _lines(test["stdout"]) else f"{short(said)} where {short(test['stdout'])} is expected"


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines
