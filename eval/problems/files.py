"""A user's own problems: a JSONL or Parquet file with one problem a row.

    {"prompt": "What is 2 + 3?", "answer": "5"}

`prompt` and `answer` are required; `verifier` (math), `id` (file name and row), `family` (file name), `skeleton` (the
prompt) and `meta` may be given. A map of columns ("mine.parquet?prompt=question&answer=final") says what they are
called in the file; with one, its other columns are ignored.
"""

from collections.abc import Mapping
from pathlib import Path

from eval.errors import ProblemSetError
from eval.problems.data_folder import Row, read_jsonl, require_columns
from eval.problems.draw import draw
from eval.problems.split import split_of
from rewards.lazy import lazy
from rewards.types import Problem

with lazy:
    import pyarrow
    from pyarrow import parquet

OPTIONAL = {"id": str, "verifier": str, "family": str, "skeleton": str, "meta": dict}


def own_file(path: Path, columns: Mapping[str, str], split: str, n: int | None, seed: int) -> list[Problem]:
    """Problems of a file: all rows where `split` is "", else those whose skeleton is in "train" or "test".

    `columns` maps our names to the file's. Raises ProblemSetError with file and row where a row is not a problem.
    """
    if not path.is_file():
        raise ProblemSetError(f"there is no problem file {path}")
    rows = read_parquet(path) if path.suffix == ".parquet" else read_jsonl(path)
    problems = [
        _problem(_renamed(row, columns, f"{path}, row {number}"), path, number) for number, row in enumerate(rows, 1)
    ]
    return draw([p for p in problems if not split or split_of(p.skeleton) == split], n, seed)


def read_parquet(path: Path) -> list[Row]:
    """The rows of a Parquet file. Raises ProblemSetError in one line where it is none."""
    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ProblemSetError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:160]}") from error
    return rows


def _renamed(row: Row, columns: Mapping[str, str], where: str) -> Row:
    if not columns:
        return row
    require_columns(row, tuple(columns.values()), where)
    # Ids are often numbers in a file, and text in a Problem.
    named = {ours: str(row[theirs]) if ours == "id" else row[theirs] for ours, theirs in columns.items()}
    return {**{key: row[key] for key in ("prompt", "answer") if key in row}, **named}


def _problem(row: Row, path: Path, number: int) -> Problem:
    where = f"{path}, row {number}"
    require_columns(row, ("prompt", "answer"), where)
    for key, kind in {"prompt": str, **OPTIONAL}.items():
        if key in row and not isinstance(row[key], kind):
            wanted = "text" if kind is str else "an object"
            raise ProblemSetError(f"{where}: {key!r} must be {wanted}, not {row[key]!r}")
    unknown = sorted(set(row) - set(OPTIONAL) - {"prompt", "answer"})
    if unknown:
        raise ProblemSetError(f"{where}: there is no column {unknown[0]!r}; 'meta' takes anything")
    answer = row["answer"]
    return Problem(
        id=row.get("id", f"{path.stem}-{number}"),
        prompt=row["prompt"],
        # Numbers in JSON and in Parquet columns have a type of their own; `math` compares text.
        answer=str(answer) if isinstance(answer, int | float) else answer,
        verifier=row.get("verifier", "math"),
        family=row.get("family", path.stem),
        skeleton=row["skeleton"] if "skeleton" in row else row["prompt"],
        meta=row.get("meta", {}),
    )
