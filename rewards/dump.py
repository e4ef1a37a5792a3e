"""`retort grade FILE`: dumps of any model, row by row, to verdicts."""

import json
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TextIO

from rewards.code import FIELDS
from rewards.grade import VERIFIERS, grade
from rewards.registry import RegistryError
from rewards.types import Completion, Problem, Verdict

AHEAD = 32
"""Rows read ahead for each job, so that a file of any length streams."""


class RowError(ValueError):
    """A row that cannot be graded, in one line."""


def read_row(line: str) -> tuple[dict[str, Any], Problem, Completion]:
    """The row, its problem and its completion. Raises RowError for a torn line or a row that lacks something.

    Rows are {"verifier": "math", "answer": "..", "completion": ".."}, or for code {"entry", "tests"} or what else
    rewards.code describes in place of "answer";
    "response" is read as a bare answer where "completion" is absent. "verifier" may be left out of a row that has tests.
    """
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RowError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise RowError("not a JSON object")
    verifier = row.get("verifier", "code" if {"tests", "check", "asserts"}.intersection(row) else None)
    if not isinstance(verifier, str):
        raise RowError('no "verifier"; write "math" or "code"')
    try:
        VERIFIERS.resolve(verifier)
    except RegistryError as error:
        raise RowError(str(error)) from error
    if verifier == "code" and "answer" not in row:
        answer = _tests(row)
    elif "answer" in row:
        answer = row["answer"]
    else:
        raise RowError('no "answer"')
    text = row.get("completion", row.get("response"))
    if not isinstance(text, str):
        raise RowError('no "completion" (or "response") with text')
    problem = Problem(str(row.get("id", "")), str(row.get("prompt", "")), answer, verifier, str(row.get("family", "")))
    return row, problem, Completion(text, finished=bool(row.get("finished", True)))


def _tests(row: dict[str, Any]) -> dict[str, Any]:
    if not {"tests", "check", "asserts"}.intersection(row):
        raise RowError('no "tests" (nor "check" or "asserts")')
    if "entry" not in row and "asserts" not in row and "stdin" not in str(row.get("tests")):
        raise RowError('no "entry"')
    return {name: row[name] for name in FIELDS if name in row}


def grade_lines(lines: Iterable[str], *, jobs: int = 1) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """(line number from 1, graded row or the error) for every line that is not blank, in order, as they come."""
    if jobs <= 1:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _graded(line)
        return
    with ThreadPoolExecutor(jobs) as threads:
        waiting: deque[tuple[int, Future[dict[str, Any] | RowError]]] = deque()
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            waiting.append((number, threads.submit(_graded, line)))
            if len(waiting) >= AHEAD * jobs:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()


def grade_dump(lines: Iterable[str], out: TextIO, err: TextIO, *, jobs: int = 1) -> Counter[str]:
    """Write graded rows to `out` and errors and a summary to `err`; the count of each verdict, and of "bad rows"."""
    counts: Counter[str] = Counter()
    seconds = 0.0
    for number, graded in grade_lines(lines, jobs=jobs):
        if isinstance(graded, RowError):
            counts["bad rows"] += 1
            print(f"line {number}: {graded}", file=err)
            continue
        counts[graded["verdict"]] += 1
        seconds += graded["seconds"]
        out.write(json.dumps(graded, ensure_ascii=False) + "\n")
    total = sum(counts.values()) - counts["bad rows"]
    parts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.most_common())
    print(f"{total} graded in {seconds:.1f} s: {parts or 'nothing'}", file=err)
    return counts


def _graded(line: str) -> dict[str, Any] | RowError:
    try:
        row, problem, completion = read_row(line)
        verdict: Verdict = grade(problem, completion)
    except RowError as error:
        return error
    except RegistryError as error:
        return RowError(str(error))
    return {
        **row,
        "verdict": verdict.label.value,
        "extracted": verdict.extracted,
        "reason": verdict.reason,
        "seconds": round(verdict.seconds, 6),
    }


def open_lines(path: str) -> Iterator[str]:
    """The lines of a file, or of standard input for "-"; bytes that are no UTF-8 do not end the reading."""
    if path == "-":
        yield from (raw.decode("utf-8", "replace") for raw in sys.stdin.buffer)
        return
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        yield from file
