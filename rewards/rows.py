"""Rows of `retort grade`: a line of JSON in, the same row with its verdict out."""

import functools
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rewards.code import FIELDS
from rewards.errors import RetortError
from rewards.grade import VERIFIERS, grade
from rewards.registry import RegistryError
from rewards.types import Completion, Problem

# Made once. json.dumps with an option of its own makes an encoder for every row.
_as_json = json.JSONEncoder(ensure_ascii=False).encode


_OURS = ("id", "prompt", "answer", "verifier", "family", "completion", "response", "finished")
"""Columns of a row that are no `meta`."""


class RowError(RetortError, ValueError):
    """A row that cannot be graded, in one line."""


class Graded(NamedTuple):
    """The name of the verdict, the seconds it took, and the row with both in it, as JSON."""

    verdict: str
    seconds: float
    row: bytes


@dataclass
class Batch:
    """What became of `lines` consecutive lines: the count of each verdict, the seconds that grading took, and the
    graded rows as lines of JSON.

    `bad` has what is wrong with lines that could not be graded, each with its place among these lines, from 0.
    """

    lines: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    bad: list[tuple[int, str]] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)

    def add(self, graded: "Graded | RowError | None") -> None:
        """What became of the next line; None where it is blank."""
        if isinstance(graded, RowError):
            self.bad.append((self.lines, str(graded)))
        elif graded is not None:
            self.counts[graded.verdict] += 1
            self.seconds += graded.seconds
            self.rows.append(graded.row + b"\n")
        self.lines += 1

    def packed(self) -> bytes:
        """As one payload of a frame."""
        # The rows are JSON by now and go behind the first line as they are, instead of being encoded a second time.
        return json.dumps([self.lines, self.counts, self.seconds, self.bad]).encode() + b"\n" + b"".join(self.rows)

    @classmethod
    def unpacked(cls, payload: bytes) -> "Batch":
        head, _, rows = payload.partition(b"\n")
        lines, counts, seconds, bad = json.loads(head)
        return cls(lines, Counter(counts), seconds, bad, [rows])


def read_row(line: str) -> tuple[dict[str, Any], Problem, Completion]:
    """The row, its problem and its completion. Raises RowError for a torn line or a row that lacks something.

    Rows are {"verifier": "math", "answer": "..", "completion": ".."}, or for code {"entry", "tests"} or what else
    rewards.code describes in place of "answer"; "response" is read as a bare answer where "completion" is absent.
    "verifier" may be left out of a row that has tests. The answer of verl's rows is where these have it, and the other
    columns are the problem's `meta`, for reward functions of other libraries.
    """
    try:
        row = json.loads(line.removeprefix("\ufeff"))  # which some editors put before the first line
    except ValueError as error:
        raise RowError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise RowError("not a JSON object")
    verifier = _given(row, "verifier") or ("code" if _has_tests(row) else None)
    if not isinstance(verifier, str):
        raise RowError('no "verifier"; write "math" or "code"')
    _check_verifier(verifier)
    answer = _answer(row, verifier)
    text = _given(row, "completion", "response")
    if not isinstance(text, str):
        raise RowError('no "completion" (or "response") with text')
    if (finished := row.get("finished")) not in (True, False, None):
        raise RowError(f'"finished" is true or false, not {str(finished)[:40]!r}')
    meta = {name: value for name, value in row.items() if name not in _OURS}
    if isinstance(row.get("prompt"), list):  # a conversation
        meta["prompt"] = row["prompt"]
    problem = Problem(
        str(row.get("id", "")), str(row.get("prompt", "")), answer, verifier, str(row.get("family", "")), meta=meta
    )
    return row, problem, Completion(text, finished=finished is None or bool(finished))


def _given(row: dict[str, Any], *names: str) -> Any:
    """The first of these columns that is not null, as it is where rows of several kinds stand in one table."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def _has_tests(row: dict[str, Any]) -> bool:
    return _given(row, "tests", "check", "asserts") is not None


def _answer(row: dict[str, Any], verifier: str) -> Any:
    """The answer of a row, which may be its tests. Raises RowError."""
    found = _given(row, "answer")
    if found is not None:
        return found
    if verifier == "code":
        return _tests(row)
    if isinstance(row.get("reward_model"), dict) and "ground_truth" in row["reward_model"]:
        return row["reward_model"]["ground_truth"]
    if "answer" not in row:
        raise RowError('no "answer"')
    return None


@functools.cache  # which does not keep what raised
def _check_verifier(name: str) -> None:
    try:
        VERIFIERS.resolve(name)
    except RegistryError as error:
        raise RowError(str(error)) from error


def _tests(row: dict[str, Any]) -> dict[str, Any]:
    if not _has_tests(row):
        raise RowError('no "tests" (nor "check" or "asserts")')
    # A script is run as a whole: its tests have standard input in place of a function to call.
    if _given(row, "entry", "asserts") is None and "stdin" not in str(row.get("tests")):
        raise RowError('no "entry"')
    return {name: row[name] for name in FIELDS if row.get(name) is not None}


def grade_line(line: bytes) -> Graded | RowError | None:
    """The graded row of one line, or what is wrong with it; None for a blank one. Bytes that are no UTF-8 are
    replaced."""
    text = line.decode(errors="replace")
    if not text.strip():
        return None
    try:
        row, problem, completion = read_row(text)
        verdict = grade(problem, completion)
    except RowError as error:
        return error
    except RegistryError as error:
        return RowError(str(error))
    seconds = round(verdict.seconds, 6)
    row |= {
        "verdict": verdict.label.value, "extracted": verdict.extracted, "reason": verdict.reason, "seconds": seconds
    }
    try:
        written = _as_json(row).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say and UTF-8 cannot
        written = json.dumps(row).encode()
    return Graded(verdict.label.value, seconds, written)
