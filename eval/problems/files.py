"""A user's own problems: a JSONL or Parquet file with one problem a row.

    {"prompt": "What is 2 + 3?", "answer": "5"}

`prompt` and `answer` are required; `verifier` (math), `id` (file name and row), `family` (file name), `skeleton` (the
prompt) and `meta` may be given. A map of columns ("mine.parquet?prompt=question&answer=final") says what they are
called in the file; with one, its other columns are ignored, or with "meta=*" kept as `meta`. A value with a colon names
the verifier of all rows: "verifier=verl:score.py:f". A prompt may be messages, and rows those of verl
(eval.problems.conversations). Rows of code problems may be as they are published
(eval.problems.code); those that nobody can grade are left out, with a warning that counts them.
"""

import itertools
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from eval import row_files
from eval.errors import ProblemSetError
from eval.problems import code, conversations
from eval.problems.data_folder import require_columns
from eval.problems.draw import draw
from eval.problems.split import split_of
from eval.row_files import Row, RowFileError, require_text
from rewards.grade import unusable
from rewards.types import Problem

EVERYTHING = "*"
"""In the place of a column for `meta`: all of them."""

_CHOICES = {"choices", "options"}
"""Columns in which published sets have the choices of a question (MMLU, ARC, MMLU-Pro)."""

_told: dict[str | tuple[str, type[Warning], int], int] = {}
"""What `warnings` has shown of this module."""

OPTIONAL = {"id": str, "verifier": str, "family": str, "skeleton": str, "meta": dict}


def own_file(
    path: Path, columns: Mapping[str, str], split: str, n: int | None, seed: int, *, form: str = ""
) -> list[Problem]:
    """Problems of a file: all rows where `split` is "", else those whose skeleton is in "train" or "test".

    `columns` maps our names to the file's; `form` is the format of code problems that the rows have, where it is not to
    be seen by their columns. Raises ProblemSetError with file and line where a row is not a problem.
    """
    if not path.is_file():
        raise ProblemSetError(f"there is no problem file {path}")
    try:
        problems = _problems(path, columns, form)
    except RowFileError as error:
        raise ProblemSetError(str(error)) from error
    return draw([p for p in problems if not split or split_of(p.skeleton) == split], n, seed)


def _problems(path: Path, columns: Mapping[str, str], form: str) -> list[Problem]:
    rows: Iterator[tuple[str, Row]] = row_files.read(path)
    first = next(rows, None)
    if first is None:
        return []
    rows = itertools.chain([first], rows)
    known = {"prompt", "answer"} <= set(first[1]) or conversations.is_of_verl(first[1])
    if not form and not columns and not known:
        form = code.recognized(first[1])
    if not form:
        return [_problem(_as_ours(row, columns, where), path, number, where)
                for number, (where, row) in enumerate(rows, 1)]
    problems, left_out = code.problems(form, rows, path)
    if left_out:
        # Of the file of rows and not of a line here; once, however often a command reads it.
        warnings.warn_explicit(left_out, RuntimeWarning, "retort", 0, registry=_told)
    return problems


def _as_ours(row: Row, columns: Mapping[str, str], where: str) -> Row:
    """The row with our names for its columns, and with text for a prompt."""
    made = _renamed(row, columns, where)
    if isinstance(made.get("prompt"), list):
        kept = made["meta"] if isinstance(made.get("meta"), dict) else {}
        made = {**made, "prompt": conversations.question(made["prompt"], where),
                "meta": {**kept, "prompt": made["prompt"]}}
    _require_choices(row, made, where)
    return made


def _renamed(row: Row, columns: Mapping[str, str], where: str) -> Row:
    of_verl = conversations.is_of_verl(row)
    if not columns and not of_verl:
        return row
    told = {ours: theirs for ours, theirs in columns.items() if not is_said(ours, theirs)}
    require_columns(row, tuple(told.values()), where)
    named = {ours: str(row[theirs]) if ours == "id" and row[theirs] is not None else row[theirs]
             for ours, theirs in told.items()}
    made: Row = {key: row[key] for key in ("prompt", "answer") if key in row}
    if of_verl:
        made = conversations.of_verl(row, where)
    if columns.get("meta") == EVERYTHING:
        made["meta"] = conversations.sayable({
            name: value for name, value in row.items() if name != "prompt" and name != told.get("prompt")
        })
    if is_said("verifier", columns.get("verifier", "")):
        made["verifier"] = columns["verifier"]
    return {**made, **named}


def _require_choices(row: Row, made: Row, where: str) -> None:
    """Raises ProblemSetError where the answer only says which of the choices in a column of its own is right, and the
    prompt has not all of them: nobody could answer it."""
    asked = made.get("prompt")
    if not isinstance(asked, str):
        return
    for column in row.keys() & _CHOICES:
        held = row[column]["text"] if isinstance(row[column], dict) and "text" in row[column] else row[column]
        if not isinstance(held, list) or len(held) < 2:
            continue
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(held)]
        which = {*letters, *letters.lower(), *map(str, range(len(held) + 1))}
        answer, texts = made.get("answer"), [str(one).strip() for one in held]
        # A text that is one of the choices may well be the answer itself.
        if str(answer).strip(" ().") in which and answer not in texts and not all(one in asked for one in texts):
            raise ProblemSetError(
                f"{where}: the answer {answer!r} says which of {column!r} is right, and the prompt does not have them: "
                'write them into it, beside "verifier": "choice" and "answer": {"letter": "C", "choices": [..]}')


def is_said(ours: str, theirs: str) -> bool:
    """Whether what is given for a column is no column's name: a verifier (of a module or file), or all columns."""
    return (ours == "verifier" and ":" in theirs) or (ours == "meta" and theirs == EVERYTHING)


def is_answer(value: object) -> bool:
    """Whether `math` can compare answers with it."""
    # Whole numbers are asked for first: no float holds the largest ones.
    number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return number or (isinstance(value, str) and bool(value.strip()))


def _problem(row: Row, path: Path, number: int, where: str) -> Problem:
    # Tables have all columns in each row, where nothing is null, or in CSV an empty text; ids are often numbers.
    row = {key: value for key, value in row.items() if value not in (None, "") or key not in OPTIONAL}
    if type(row.get("id")) is int:
        row["id"] = str(row["id"])
    require_columns(row, ("prompt", "answer"), where)
    for key, kind in {"prompt": str, **OPTIONAL}.items():
        if key in row and kind is str:
            require_text(row[key], key, where)
        elif key in row and not isinstance(row[key], kind):
            raise ProblemSetError(f"{where}: {key!r} must be an object, not {row[key]!r}")
    unknown = sorted(set(row) - set(OPTIONAL) - {"prompt", "answer"})
    if unknown:
        raise ProblemSetError(f"{where}: there is no column {unknown[0]!r}; 'meta' takes anything, and "
                              f"{path.name}?meta=* all other columns")
    # Parquet has exact decimals, which are numbers like any other.
    answer = f"{row['answer']:f}" if isinstance(row["answer"], Decimal) else row["answer"]
    verifier, meta = row.get("verifier", "math"), conversations.sayable(row.get("meta", {}))
    try:
        json.dumps(meta, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ProblemSetError(f"{where}: 'meta' holds half of a surrogate pair, which is no text") from error
    if not row["prompt"].strip():
        raise ProblemSetError(f"{where}: 'prompt' is empty")
    if verifier == "math" and not is_answer(answer):
        told = json.dumps(answer, default=str)[:60]
        raise ProblemSetError(f"{where}: 'answer' must be a text or a number, not {told}: math compares nothing else")
    if why := unusable(verifier, answer):
        raise ProblemSetError(f"{where}: nothing can be graded with this 'answer' by {verifier!r}: {why}")
    # A name that is not in UTF-8 is half characters to Python, which no file of rollouts could hold.
    called = path.stem.encode(errors="backslashreplace").decode()
    return Problem(
        id=row.get("id", f"{called}-{number}"),
        prompt=row["prompt"],
        # Numbers in JSON and in Parquet columns have a type of their own; `math` compares text.
        answer=str(answer) if isinstance(answer, int | float) else answer,
        verifier=verifier,
        family=row.get("family", called),
        skeleton=row["skeleton"] if "skeleton" in row else row["prompt"],
        meta=meta,
    )
