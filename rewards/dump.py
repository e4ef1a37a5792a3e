"""`retort grade FILE`: dumps of any model, row by row, to verdicts."""

import contextlib
import functools
import itertools
import json
import sys
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, TextIO

from rewards.code import FIELDS
from rewards.frames import LATE, OK
from rewards.grade import VERIFIERS, grade
from rewards.registry import RegistryError
from rewards.types import Completion, Problem
from rewards.workers import Worker

CHUNK = 32
"""Rows that go to a process at once: few, so that a file of any length streams."""

AHEAD = 4
"""Chunks read ahead for each job."""

SECONDS_A_ROW = 660.0
"""When a process that grades rows is given up; verifiers of ours have deadlines of their own, at most ten minutes."""


class RowError(ValueError):
    """A row that cannot be graded, in one line."""


class Graded(NamedTuple):
    """The name of the verdict, the seconds it took, and the row with both in it, as JSON."""

    verdict: str
    seconds: float
    row: str


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
    _check_verifier(verifier)
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


@functools.cache  # which does not keep what raised
def _check_verifier(name: str) -> None:
    try:
        VERIFIERS.resolve(name)
    except RegistryError as error:
        raise RowError(str(error)) from error


def _tests(row: dict[str, Any]) -> dict[str, Any]:
    if not {"tests", "check", "asserts"}.intersection(row):
        raise RowError('no "tests" (nor "check" or "asserts")')
    if "entry" not in row and "asserts" not in row and "stdin" not in str(row.get("tests")):
        raise RowError('no "entry"')
    return {name: row[name] for name in FIELDS if name in row}


def grade_line(line: str) -> Graded | RowError:
    """The graded row of one line, or what is wrong with it."""
    try:
        row, problem, completion = read_row(line)
        verdict = grade(problem, completion)
    except RowError as error:
        return error
    except RegistryError as error:
        return RowError(str(error))
    seconds = round(verdict.seconds, 6)
    found = {"verdict": verdict.label.value, "extracted": verdict.extracted, "reason": verdict.reason, "seconds": seconds}
    return Graded(verdict.label.value, seconds, json.dumps({**row, **found}, ensure_ascii=False))


def grade_lines(lines: Iterable[str], *, jobs: int = 1) -> Generator[tuple[int, Graded | RowError]]:
    """(line number from 1, graded row or the error) for every line that is not blank, in order, as they come.

    With more than one job the rows are graded in that many processes; one that dies or hangs costs the row that it was at.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    if jobs <= 1:
        for number, line in numbered:
            yield number, grade_line(line)
        return
    script = Path(__file__).parent / "row_process.py"
    workers = [Worker(script, search_path=True, trusted=True) for _ in range(jobs)]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)
    waiting: deque[tuple[list[int], Future[list[Graded | RowError]]]] = deque()
    threads = ThreadPoolExecutor(jobs)
    try:
        while chunk := list(itertools.islice(numbered, CHUNK)):
            waiting.append(([n for n, _ in chunk], threads.submit(_graded_elsewhere, idle, [line.strip("\n") for _, line in chunk])))
            if len(waiting) > AHEAD * jobs:
                numbers, future = waiting.popleft()
                yield from zip(numbers, future.result(), strict=True)
        for numbers, future in waiting:
            yield from zip(numbers, future.result(), strict=True)
    finally:
        # Also where somebody stopped it in the middle: nobody waits for rows that nobody will read.
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.retire()
        threads.shutdown()
        for worker in workers:
            worker.kill()


def _graded_elsewhere(idle: "SimpleQueue[Worker]", lines: list[str]) -> list[Graded | RowError]:
    """The lines graded by the next worker that is idle; as many threads as workers call this, so there is one.

    Where it dies or hangs, what is left goes line by line, so that the fault is found.
    """
    graded: list[Graded | RowError] = []
    at_once = len(lines)
    worker = idle.get()
    try:
        while len(graded) < len(lines):
            asked = lines[len(graded) :][:at_once]
            end = len(graded) + len(asked)
            status, data = worker.ask("\n".join(asked).encode(errors="surrogatepass"), SECONDS_A_ROW)
            while status == OK:
                graded += map(_read_answer, data.decode(errors="surrogatepass").split("\n"))
                if len(graded) == end:
                    break
                status, data = worker.more(SECONDS_A_ROW)
            if status != OK and len(asked) == 1:
                graded.append(RowError(f"the process that graded this row {'hung' if status == LATE else 'died'}"))
            at_once = at_once if status == OK else 1
    finally:
        idle.put(worker)
    return graded


def _read_answer(line: str) -> Graded | RowError:
    verdict, seconds, row = line.split(" ", 2)
    return Graded(verdict, float(seconds), row) if verdict else RowError(row)


def grade_dump(lines: Iterable[str], out: TextIO, err: TextIO, *, jobs: int = 1) -> Counter[str]:
    """Write graded rows to `out` and errors and a summary to `err`; the count of each verdict, and of "bad rows"."""
    counts: Counter[str] = Counter()
    seconds = 0.0
    with contextlib.closing(grade_lines(lines, jobs=jobs)) as rows:
        for number, graded in rows:
            if isinstance(graded, RowError):
                counts["bad rows"] += 1
                print(f"line {number}: {graded}", file=err)
                continue
            counts[graded.verdict] += 1
            seconds += graded.seconds
            out.write(graded.row + "\n")
    total = sum(counts.values()) - counts["bad rows"]
    parts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.most_common())
    print(f"{total} graded in {seconds:.1f} s: {parts or 'nothing'}", file=err)
    return counts


def open_lines(path: str) -> Iterator[str]:
    """The lines of a file, or of standard input for "-"; bytes that are no UTF-8 do not end the reading."""
    if path == "-":
        yield from (raw.decode("utf-8", "replace") for raw in sys.stdin.buffer)
        return
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        yield from file
