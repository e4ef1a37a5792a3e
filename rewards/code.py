"""Verifier `code`: runs a model's function on test inputs in a child process and compares what it returns.

The answer of a problem is {"entry": "f", "tests": [{"input": [1], "expected": 3}, ..]} with, optionally, "seconds" (for
all tests together, 4 if not given) and "megabytes" (512). `input` is the list of positional arguments.

Expected values never enter the child, which can therefore state answers and no verdict; they are compared here.

What this covers: every program runs in a process of its own, forked from one that was started by exec with an empty
environment; it has no open descriptor but its own pipe and cannot open any (RLIMIT_NOFILE 0: no file, socket, pipe); its
memory, CPU time, file size and processes are limited; it is killed at its deadline. Started by root, it runs as nobody.

What rlimits do NOT cover: a program that is not run as root keeps its user's rights in calls that need no descriptor:
it can signal the user's processes (os.kill), and rename, link, delete or change the mode of the user's files; as nobody
it can do so where the world may write. It can exec a program that needs no further file. It can read paths' metadata.
Without seccomp and Landlock (not here yet) run programs of a model that you do not trust in a container.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewards.extract import extract_code
from rewards.types import Completion, Label, Problem, Verdict
from rewards.workers import DIED, LATE, OK, TOO_MUCH, Pool

SECONDS = 4.0
MEGABYTES = 512
LONGEST_PROGRAM = 64_000
RELATIVE_TOLERANCE = 1e-9
REMEMBERED = 20_000

_pool = Pool(Path(__file__).parent / "sandbox" / "zygote.py")
_remembered: "OrderedDict[tuple[str, str], Verdict]" = OrderedDict()


def verify(problem: Problem, completion: Completion) -> Verdict:
    """CORRECT where the program returns the expected value for every test.

    UNGRADABLE where the problem's own answer is not as described above or no process can be started. Verdicts on equal
    programs and tests are remembered within a process, except UNGRADABLE ones and deadlines, which may depend on load.
    """
    found = extract_code(completion)
    if found.text is None:
        return Verdict(Label.NO_ANSWER, None, found.where)
    try:
        entry, inputs, expected, seconds, megabytes = _read(problem.answer)
        request = json.dumps({"code": found.text, "entry": entry, "inputs": inputs, "megabytes": megabytes})
        key = (request, repr((expected, seconds)))
    except (TypeError, ValueError) as error:
        return Verdict(Label.UNGRADABLE, found.text, f"the tests cannot be read: {error}")
    known = _remembered.get(key)
    if known is not None:
        return known
    if len(found.text) > LONGEST_PROGRAM:
        return Verdict(Label.WRONG, found.text[:200], f"a program of more than {LONGEST_PROGRAM} characters")
    try:
        status, data = _pool.ask(request.encode("utf-8", "replace"), seconds)
    except (RuntimeError, OSError) as error:
        return Verdict(Label.UNGRADABLE, found.text, str(error))
    verdict = _judge(found.text, status, data, expected, seconds)
    if status != LATE and verdict.label is not Label.UNGRADABLE:
        _remembered[key] = verdict
        if len(_remembered) > REMEMBERED:
            _remembered.popitem(last=False)
    return verdict


def agrees(expected: Any, actual: Any) -> bool:
    """Whether two plain values are the same: exact types (bool is not int), a list and a tuple alike.

    Where a float is expected a number within 1e-9 of it, relative to the expected value, will do; NaN agrees with NaN
    and infinity with the same infinity alone.
    """
    if isinstance(expected, float) and not isinstance(actual, bool) and isinstance(actual, int | float):
        if math.isnan(expected) or math.isinf(expected):
            return isinstance(actual, float) and (repr(expected) == repr(actual))
        try:
            return abs(actual - expected) <= RELATIVE_TOLERANCE * abs(expected)
        except OverflowError:
            return False
    if isinstance(expected, list | tuple):
        if not isinstance(actual, list | tuple) or len(expected) != len(actual):
            return False
        return all(agrees(e, a) for e, a in zip(expected, actual, strict=True))
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, dict):
        # 1 and True are one key to Python, so types are part of the key here.
        given = {(type(k), k): v for k, v in actual.items()}
        wanted = {(type(k), k): v for k, v in expected.items()}
        return wanted.keys() == given.keys() and all(agrees(v, given[k]) for k, v in wanted.items())
    if isinstance(expected, set | frozenset):
        return {(type(v), v) for v in expected} == {(type(v), v) for v in actual}
    return bool(expected == actual)


def _read(answer: Any) -> tuple[str, list[list[Any]], list[Any], float, int]:
    if not isinstance(answer, Mapping) or not isinstance(answer.get("entry"), str):
        raise ValueError('write {"entry": "f", "tests": [{"input": [1], "expected": 3}]}')
    tests = answer.get("tests")
    if not isinstance(tests, list) or not tests:
        raise ValueError("there are no tests")
    for test in tests:
        if not isinstance(test, Mapping) or not isinstance(test.get("input"), list | tuple) or "expected" not in test:
            raise ValueError(f'a test is {{"input": [..], "expected": ..}}, not {str(test)[:80]}')
    seconds, megabytes = float(answer.get("seconds", SECONDS)), int(answer.get("megabytes", MEGABYTES))
    if not 0 < seconds <= 600 or not 64 <= megabytes <= 65_536:
        raise ValueError("seconds is in (0, 600] and megabytes in [64, 65536]")
    return answer["entry"], [list(t["input"]) for t in tests], [t["expected"] for t in tests], seconds, megabytes


def _judge(code: str, status: int, data: bytes, expected: list[Any], seconds: float) -> Verdict:
    if status == LATE:
        return Verdict(Label.WRONG, code, f"no answer within {seconds:g} s")
    if status == TOO_MUCH:
        return Verdict(Label.WRONG, code, "the values returned are too large")
    if status == DIED:
        return Verdict(Label.WRONG, code, f"the process ended without an answer ({data.decode(errors='replace')})")
    if status != OK:
        return Verdict(Label.UNGRADABLE, code, f"the program could not be run: {data.decode(errors='replace')}")
    try:
        outcomes = json.loads(data)
        if not isinstance(outcomes, list) or not all(isinstance(o, list) and len(o) == 2 for o in outcomes):
            raise ValueError("not a list of outcomes")
        for number, (what, value) in enumerate(outcomes, 1):
            if what != "value":
                reason = f"test {number}: {value}" if what == "raised" else str(value)
                return Verdict(Label.WRONG, code, " ".join(reason.split())[:300])
        values = [_decoded(value) for _, value in outcomes]
    except (ValueError, TypeError, RecursionError, KeyError, IndexError, OverflowError, AttributeError):
        return Verdict(Label.WRONG, code, "what the process wrote is not an answer")
    if len(values) != len(expected):
        return Verdict(Label.WRONG, code, f"{len(values)} answers to {len(expected)} tests")
    for number, (want, value) in enumerate(zip(expected, values, strict=True), 1):
        if not agrees(want, value):
            return Verdict(Label.WRONG, code, f"test {number}: {_short(value)} where {_short(want)} is expected")
    return Verdict(Label.CORRECT, code, f"{len(values)} of {len(values)} tests passed")


def _decoded(value: Any) -> Any:
    """A plain value from what the child wrote. Raises ValueError, TypeError or the like on anything else."""
    if not isinstance(value, list):
        if isinstance(value, dict | float):
            raise ValueError("not an encoded value")
        return value
    tag, *rest = value
    match tag:
        case "int":
            return int(rest[0], 16)
        case "float":
            return float.fromhex(rest[0])
        case "complex":
            return complex(float.fromhex(rest[0]), float.fromhex(rest[1]))
        case "bytes":
            return bytes.fromhex(rest[0])
        case "dict":
            return {_hashable(_decoded(k)): _decoded(v) for k, v in rest}
        case "list":
            return [_decoded(v) for v in rest]
        case "tuple":
            return tuple(_decoded(v) for v in rest)
        case "set" | "frozenset":
            values = {_hashable(_decoded(v)) for v in rest}
            return frozenset(values) if tag == "frozenset" else values
    raise ValueError("an unknown tag")


def _hashable(value: Any) -> Any:
    hash(value)
    return value


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a huge integer"
    return text if len(text) <= 60 else text[:57] + "..."


def forget() -> None:
    """Drop the remembered verdicts and end the idle processes."""
    _remembered.clear()
    _pool.close()


