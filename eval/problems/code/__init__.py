"""Code problems as they are published: rows of APPS, TACO, LiveCodeBench, LeetCodeDataset, KodCode, HumanEval(+) and
MBPP(+) become problems for the verifier `code`.

A file's format is known by the columns of its first row, unless its reference says it ("mine.jsonl?format=apps"). Each
format is a file here with a function from a row to a `CodeProblem`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from eval.errors import ProblemSetError
from eval.problems.code import contests, evalplus, kodcode, leetcode, livecodebench, renamed
from eval.problems.code.row import CannotGrade, CodeProblem
from eval.problems.data_folder import require_columns
from eval.row_files import Row
from rewards.registry import did_you_mean
from rewards.types import Problem


class Format(NamedTuple):
    """Every row has the `columns`; they tell it from the others, where it needs be with one of `some`."""

    columns: tuple[str, ...]
    read: Callable[[Row], CodeProblem]
    some: tuple[str, ...] = ()


FORMATS: Mapping[str, Format] = {
    "livecodebench": Format(livecodebench.COLUMNS, livecodebench.read),
    "leetcode": Format(leetcode.COLUMNS, leetcode.read),
    "humanevalplus": Format(evalplus.INPUTS, evalplus.read_inputs),
    "humaneval": Format(evalplus.CHECK, evalplus.read_check),
    "mbppplus": Format(evalplus.MBPP, evalplus.read_mbpp),
    "kodcode": Format(kodcode.COLUMNS, kodcode.read, ("test", "test_code")),
    "code_contests": Format(renamed.CODE_CONTESTS, renamed.read_code_contests),
    "deepcoder": Format(renamed.DEEPCODER, renamed.read_deepcoder),
    "apps": Format(contests.COLUMNS, contests.read),
    "taco": Format(contests.COLUMNS, contests.read),
}
"""In the order in which a row is tried."""


def require_format(name: str) -> None:
    """Raises ProblemSetError where there is no format of this name."""
    if name not in FORMATS:
        raise ProblemSetError(f"there is no format {name!r} of code problems{did_you_mean(name, FORMATS)}")


def recognized(row: Row) -> str:
    """The format that the columns of a row are of, "" where they are of none."""
    for name, form in FORMATS.items():
        if all(column in row for column in form.columns) and any(column in row for column in form.some or form.columns):
            return name
    return ""


def problems(name: str, rows: Iterable[tuple[str, Row]], path: Path) -> tuple[list[Problem], str]:
    """(the problems of all rows that can be graded, a line that counts the others or ""). Raises ProblemSetError where
    a row has not the columns of its format, or none can be graded."""
    form = FORMATS[name]
    found: list[Problem] = []
    reasons: Counter[str] = Counter()
    first: dict[str, str] = {}
    for number, (where, row) in enumerate(rows, 1):
        require_columns(row, form.columns, where)
        try:
            one = form.read(row)
        except CannotGrade as error:
            reasons[error.reason] += 1
            first.setdefault(error.reason, f"{where}{error.detail}")
            continue
        found.append(_problem(one, f"{path.stem}-{number}", name))
    told = "; ".join(f"{count:,} {reason} (first {first[reason]})" for reason, count in reasons.most_common())
    left_out = sum(reasons.values())
    if not found and left_out:
        raise ProblemSetError(f"{path}: none of its {left_out:,} rows can be graded: {told}")
    line = f"{path}: {left_out:,} of {left_out + len(found):,} rows cannot be graded and are left out: {told}"
    return found, line if left_out else ""


def _problem(one: CodeProblem, place: str, name: str) -> Problem:
    return Problem(
        id=f"{name}-{one.name}" if one.name else place,
        prompt=one.prompt,
        answer=one.answer,
        verifier="code",
        family=name,
        skeleton=one.question,
        meta=one.meta,
    )
