"""A data set's own tests, which are programs: HumanEval's `check(candidate)` and MBPP's asserts.

    {"entry": "f", "prefix": "def f(x):\n    \"\"\"..\"\"\"\n",
     "check": "def check(candidate):\n    assert candidate(1) == 2"}
    {"names": ["f"], "setup": "", "asserts": ["assert f(1) == 2"]}

`prefix` is what the completion continues, up to what comes behind the function and is no Python; names in it, such as
helpers, are there for the check too. The tests run in a second child, where the candidate and the `names` are proxies:
what is asked of them goes to the first child, where the program is, and plain values come back. So the program never
shares a process with what is expected of it. Instances of its own classes stay in the first child; the tests can hand
them back, call their methods and ask for their attributes, items, length and text, but not compare them. `classes` are
those that tests and program both define, such as the nodes of a list: their instances go from one to the other by what
they hold. `support` is what the tests have besides: it runs before the names stand for the program's.
"""

import ast
import json
import re
import textwrap
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.sandbox import imports
from rewards.sandbox.frames import Ended, Late, TooMuch
from rewards.sandbox.outcomes import LATE, outcome
from rewards.sandbox.pool import sandbox
from rewards.sandbox.processes import Run, Zygote
from rewards.testing.finding import BadTests, Finding, Limits, one_line

_TESTS_MEGABYTES = 1024
_TO_THE_COUNT = 1.0
"""Seconds that tests have to say how many were passed before the program was late."""


def find(code: str, answer: Mapping[str, Any], limits: Limits) -> Finding:
    """Run the checks of a data set in one child over a program in another, and count those that pass.

    Raises BadTests, SandboxError, and what a run raises.
    """
    tests = _tests(answer)
    source = "\n".join([tests.get("support", ""), tests["setup"], tests.get("check", ""), *tests.get("asserts", ())])
    prelude = answer.get("prelude", "")
    ours, theirs = imports.named_in(source), imports.named_in(f"{prelude}\n{code}")
    # Arrays go from one to the other, and both know what they are.
    if imports.NUMPY in ours + theirs:
        ours, theirs = sorted({*ours, imports.NUMPY}), sorted({*theirs, imports.NUMPY})

    def ask(first: Zygote, second: Zygote) -> Finding:
        with first.run(limits.seconds, limits.megabytes, theirs) as program:
            program.give({"mode": "serve", "prelude": prelude, "code": code, "classes": tests["classes"],
                          "given": _given(answer, code)})
            what, *said = _parsed(program.receive())
            if what != "value":
                return Finding(0, 1, one_line(said[0]))
            # One budget of time for the program and its tests, which mostly wait for it.
            left = max(program.deadline - time.monotonic(), 0.001)
            # The tests run in a process of their own: what the program can reach are their questions, never their
            # code.
            with second.run(left, _TESTS_MEGABYTES, ours) as run:
                run.give(tests)
                return _relayed(program, run, limits)

    return sandbox.attempted(ask, [theirs, ours])


def require(answer: Mapping[str, Any]) -> None:
    """Raises BadTests for tests that no program could be put to: some are no Python, or there is no check."""
    tests = _tests(answer)
    names: tuple[str, ...] = ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for part in (tests.get("support", ""), tests["setup"], *tests.get("asserts", ()), tests.get("check", "")):
            try:
                names = compile(part, "<tests>", "exec", dont_inherit=True).co_names
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise BadTests(f"the tests cannot be run: {one_line(f'{type(error).__name__}: {error}')}") from error
    if "check" in tests and "check" not in names:
        raise BadTests('"check" has no function check(candidate)')


def continued(prefix: str, entry: str, text: str) -> str:
    """The program that a completion of `prefix` makes: it goes on with it, or defines `entry` by itself."""
    name, alone = re.escape(entry), textwrap.dedent(text)
    # A text that begins indented and comes back to the margin is a body with something after it.
    defines = rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{name}\b|^{name}[ \t]*=(?!=)"
    if not alone[:1].isspace() and re.search(defines, alone, re.MULTILINE):
        return f"{_whole(prefix)}\n{alone.strip()}\n"
    return f"{prefix}{text if text[:1].isspace() else '    ' + text}\n"


def _given(answer: Mapping[str, Any], code: str) -> int | None:
    """How many lines of a program are the prefix that it goes on with; None where it stands alone."""
    prefix = answer.get("prefix", "") if "check" in answer else ""
    return prefix.count("\n") if prefix and not code.startswith(f"{_whole(prefix)}\n") else None


def _whole(prefix: str) -> str:
    """The prefix as a program of its own: a function that has no body yet gets one."""
    try:
        ast.parse(prefix)
    except SyntaxError:
        return prefix.rstrip() + "\n    pass\n"
    return prefix


def _require_deciding(texts: Sequence[str], check: str) -> None:
    """Raises BadTests where a test only states a value, such as `f(1) == 3` without `assert`: any program passes it."""
    for text in texts:
        if (found := _statements(text)) is not None and not any(map(_decides, found)):
            raise BadTests(f"no program fails {text.strip()!r}: write it as an assert")
    for defined in _statements(check) or ():
        if isinstance(defined, ast.FunctionDef) and defined.name == "check" and not any(map(_decides, defined.body)):
            raise BadTests("no program fails the function check(candidate): it asserts nothing")


def _statements(text: str) -> list[ast.stmt] | None:
    """The statements of a text; None where it is no Python, of which is told where it is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _decides(statement: ast.stmt) -> bool:
    """Whether a statement may tell one program from another: any but a value that nobody looks at. A call by itself
    may, since what is called may assert."""
    match statement:
        case ast.Pass():
            return False
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
            return False
        case ast.Expr(value=value) | ast.Return(value=value):
            return isinstance(value, ast.Call | ast.Await | ast.NamedExpr | ast.YieldFrom)
        case _:
            return True


def _tests(answer: Mapping[str, Any]) -> dict[str, Any]:
    texts = [answer.get(name, "") for name in ("prefix", "setup", "check", "entry", "support")]
    lists = [answer.get(name, []) for name in ("asserts", "names", "classes")]
    if not all(isinstance(text, str) for text in texts) or not all(
            isinstance(some, list | tuple) and all(isinstance(one, str) for one in some) for some in lists):
        raise BadTests('"prefix", "setup", "support", "check" and "entry" are text, "asserts", "names" and "classes" '
                       "are lists of text")
    classes = list(answer.get("classes", []))
    _require_deciding(answer.get("asserts", []), answer.get("check", ""))
    if "check" in answer:
        if not answer.get("entry"):
            raise BadTests('beside "check" write the "entry", the name of the function that it is given')
        setup = "\n".join((answer.get("prelude", ""), _whole(answer.get("prefix", "")), answer.get("setup", "")))
        return {"mode": "check", "setup": setup, "check": answer["check"], "candidate": answer["entry"],
                "classes": classes}
    if not answer["asserts"] or not answer.get("names"):
        raise BadTests('beside "asserts", of which there is at least one, write "names", the list of what they call')
    asserts, names = list(answer["asserts"]), list(answer["names"])
    support = answer.get("prelude", "") + "\n" + answer.get("support", "")
    return {"mode": "check", "support": support, "setup": answer.get("setup", ""), "asserts": asserts, "names": names,
            "classes": classes}


def _relayed(program: Run, tests: Run, limits: Limits) -> Finding:
    """Carry questions and answers, as bytes that are not looked into, until the tests are through."""
    end, late, said = program.deadline, False, b""
    while True:
        try:
            frame = tests.receive()
        except (Ended, TooMuch) as error:
            raise BadTests(f"the tests ended without a result ({error or 'too much at once'})") from error
        what, *rest = _parsed(frame)
        if what in ("call", "get", "set", "do"):
            if not late:  # whoever is late is not asked again
                program.deadline = min(end, time.monotonic() + limits.a_test)
                try:
                    # Bytes that are not looked into: what a program says means nothing here.
                    program.send_frame(frame)
                    said = program.receive()
                except Late:
                    late, said = True, outcome(LATE, limits.too_late).encode()
                    tests.deadline = max(tests.deadline, time.monotonic() + _TO_THE_COUNT)
            try:
                tests.send_frame(said)
            except Ended as error:
                raise BadTests("the tests ended without a result") from error
            continue
        passed, count, failure = rest
        if what != "done":
            raise BadTests(f"the tests cannot be run: {one_line(failure[1])}")
        return Finding(passed, count, one_line(failure[1]) if failure else "", late)


def _parsed(frame: bytes) -> tuple[Any, ...]:
    """The parts of a JSON list of two or more; of anything else two Nones, which say nothing and pass nothing."""
    try:
        parts = json.loads(frame)
    except (ValueError, RecursionError):
        return None, None
    return tuple(parts) if isinstance(parts, list) and len(parts) >= 2 else (None, None)
