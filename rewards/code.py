"""Verifier `code`: runs a model's program in the sandbox and puts it to tests.

The answer of a problem is one of
    {"entry": "f", "tests": [{"input": [1], "expected": 3}, ..]}       a function (rewards/testing/functions.py)
    {"tests": [{"stdin": "1\n", "stdout": "3\n"}, ..]}                 a script (rewards/testing/scripts.py)
    {"entry": "f", "prefix": "..", "check": ".."}                       HumanEval's checks (rewards/testing/checks.py)
    {"names": ["f"], "setup": "..", "asserts": ["..", ..]}              MBPP's asserts (rewards/testing/checks.py)
with, optionally, "seconds" (for all tests together, 4 if not given), "each" (seconds for one test), "megabytes" (512),
"prelude" (what runs before the program, such as imports that it may do without) and, for functions and scripts,
"compare": "loose" with a "tolerance".

What is expected never enters the process of the program, which can state answers and no verdict. SECURITY.md says what
the sandbox keeps a program from, at which level, and what it does not; `retort doctor` says which level there is here.
"""

import re
import textwrap
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

from rewards.extract import extract_code
from rewards.sandbox.frames import Ended, Late, TooMuch
from rewards.sandbox.pool import sandbox
from rewards.sandbox.processes import SandboxError
from rewards.testing import checks, functions, scripts
from rewards.testing.agreement import agrees
from rewards.testing.finding import BadTests, Finding, Limits
from rewards.types import Completion, Label, Problem, Verdict

__all__ = ["FIELDS", "agrees", "forget", "verify"]

FIELDS = ("entry", "tests", "prefix", "check", "names", "setup", "asserts", "classes", "support", "prelude",
          "compare", "tolerance", "seconds", "each", "megabytes")
"""What an answer may have; a row of `retort grade` has these beside the completion."""

SECONDS = 4.0
MEGABYTES = 512
LONGEST_PROGRAM = 64_000
REMEMBERED = 20_000

_remembered: "OrderedDict[bytes, Verdict]" = OrderedDict()


class _Tester(Protocol):
    """A module that puts programs to tests of one form."""

    def find(self, code: str, answer: Mapping[str, Any], limits: Limits) -> Finding: ...

    def require(self, answer: Mapping[str, Any]) -> None: ...


def verify(problem: Problem, completion: Completion) -> Verdict:
    """CORRECT where the program passes every test; `share` of the verdict is the share of tests passed, of which a test
    that is too slow is the last that is run.

    UNGRADABLE where the problem's own tests cannot be read or run, or no process can be started. Verdicts on equal
    programs and tests are remembered within a process, except UNGRADABLE ones and deadlines, which may depend on load.
    """
    found = extract_code(completion, _asked_for(problem.answer))
    if found.text is None:
        return Verdict(Label.NO_ANSWER, None, found.where)
    # A group of rollouts often holds the same program several times.
    key = blake2b(f"{found.text}\0{problem.answer!r}".encode("utf-8", "surrogatepass"), digest_size=20).digest()
    known = _remembered.get(key)
    if known is not None:
        return known
    # No solution is so long; compiling it could take longer than running it may.
    if len(found.text) > LONGEST_PROGRAM:
        return Verdict(Label.WRONG, found.text[:200], f"a program of more than {LONGEST_PROGRAM} characters")
    try:
        finding = _finding(found.text, problem.answer)
    except (BadTests, SandboxError, OSError, Late) as error:
        return _unfinished(found.text, error)
    label = Label.CORRECT if finding.passed == finding.tests else Label.WRONG
    reason = finding.reason or f"{finding.passed} of {finding.tests} tests passed"
    verdict = Verdict(label, found.text, reason, share=finding.passed / finding.tests)
    # Only verdicts that the program alone decides: a deadline may have been the machine's fault.
    if finding.late:
        return verdict
    _remembered[key] = verdict
    # The oldest goes; a group is graded at once, so its repeats come soon after.
    if len(_remembered) > REMEMBERED:
        _remembered.popitem(last=False)
    return verdict


def _asked_for(answer: Any) -> list[str]:
    """The names of what a program is to define, as far as the answer can be read."""
    if not isinstance(answer, Mapping):
        return []
    names = answer.get("names")
    listed = [one for one in names if isinstance(one, str)] if isinstance(names, list | tuple) else []
    return listed or [one for one in re.split(r"\W+", str(answer.get("entry") or "")) if one]


def _unfinished(text: str, error: Exception) -> Verdict:
    """The verdict on a program whose tests did not run to their end."""
    if isinstance(error, Late):
        return Verdict(Label.WRONG, text, str(error), share=0.0)
    reason = f"the tests cannot be used: {error}" if isinstance(error, BadTests) else str(error)
    return Verdict(Label.UNGRADABLE, text, reason)


def _finding(text: str, answer: Any) -> Finding:
    """What putting a program to the tests of an answer comes to.

    Raises BadTests, SandboxError, OSError, or Late, whose text then says so.
    """
    answer = _without_nulls(answer)
    tester, program, limits = _read(answer, text)
    try:
        return tester.find(program, answer, limits)
    except Late as error:
        # Passed on, because it is no finding that may be remembered; the two below are the program's own doing.
        raise Late(limits.too_late) from error
    except TooMuch:
        return Finding(0, 1, "the values returned are too large")
    except Ended as error:
        return Finding(0, 1, f"the process ended without an answer ({error})")


def unusable(answer: Any) -> str:
    """Why nothing can be graded with an answer, without running anything; "" where something may."""
    try:
        tester, _, _ = _read(_without_nulls(answer), "")
        tester.require(_without_nulls(answer))
    except BadTests as error:
        return str(error)
    return ""


def _without_nulls(answer: Any) -> Any:
    """The answer without what is null in it: tables give every row the columns, and every test the members, that any
    other has. What a test expects may be null."""
    if not isinstance(answer, Mapping):
        return answer
    kept = {name: value for name, value in answer.items() if value is not None}
    if isinstance(kept.get("tests"), list):
        kept["tests"] = [
            {name: value for name, value in test.items() if value is not None or name == "expected"}
            if isinstance(test, Mapping) else test for test in kept["tests"]
        ]
    return kept


def _read(answer: Any, text: str) -> tuple[_Tester, str, Limits]:
    """(what tests it, the program, its limits). Raises BadTests."""
    if not isinstance(answer, Mapping):
        raise BadTests('write {"entry": "f", "tests": [{"input": [1], "expected": 3}]}')
    for name in answer:
        if name not in FIELDS:
            raise BadTests(f"an answer has no {name!r}; it may have {', '.join(FIELDS)}")
    try:
        limits = Limits(
            float(answer.get("seconds", SECONDS)), int(answer.get("megabytes", MEGABYTES)),
            None if answer.get("each") is None else float(answer["each"]),
        )
        tolerance = float(answer.get("tolerance", 0))
    except (TypeError, ValueError) as error:
        raise BadTests(str(error)) from error
    if not 0 < limits.seconds <= 600 or not limits.a_test > 0 or not 64 <= limits.megabytes <= 65_536:
        raise BadTests("seconds and each are in (0, 600] and megabytes in [64, 65536]")
    if answer.get("compare", "loose") != "loose" or not isinstance(answer.get("prelude", ""), str):
        raise BadTests('"compare" can be "loose", and "prelude" is text')
    if not 0 <= tolerance < 1:
        raise BadTests("the tolerance is in [0, 1)")
    if tolerance and "compare" not in answer:
        raise BadTests('beside a "tolerance" write "compare": "loose"; without it nothing is compared by it')
    # The indentation of a completion counts where it goes on with a function; elsewhere it is an accident.
    if "check" in answer and answer.get("prefix"):
        return checks, checks.continued(str(answer["prefix"]), str(answer.get("entry")), text), limits
    program = textwrap.dedent(text).strip()
    if "check" in answer or "asserts" in answer:
        return checks, program, limits
    tests = answer.get("tests")
    if not isinstance(tests, list) or not tests:
        raise BadTests("there are no tests")
    script = isinstance(tests[0], Mapping) and "stdin" in tests[0]
    return (scripts if script else functions), program, limits


def forget() -> None:
    """Drop the remembered verdicts and end the idle processes."""
    _remembered.clear()
    sandbox.close()
