"""A user's own problems: a JSONL file with one problem a row.

    {"prompt": "What is 2 + 3?", "answer": "5"}

`prompt` and `answer` are required; `verifier` (math), `id` (file name and row), `family` (file name),
`skeleton` (the prompt) and `meta` may be given.
"""

from pathlib import Path

from eval.data_folder import Row, read_jsonl, require_columns
from eval.problems import ProblemSetError
from eval.problems.draw import draw
from eval.problems.split import split_of
from rewards.types import Problem

OPTIONAL = {"id": str, "verifier": str, "family": str, "skeleton": str, "meta": dict}


def own_file(path: Path, split: str, n: int | None, seed: int) -> list[Problem]:
    """Problems of a JSONL file: all rows where `split` is "", else those whose skeleton is in "train" or
    "test".

    Raises ProblemSetError with file and row where a row is not a problem.
    """
    if not path.is_file():
        raise ProblemSetError(f"there is no problem file {path}")
    rows = enumerate(read_jsonl(path), 1)
    problems = [_problem(row, path, number) for number, row in rows]
    return draw([p for p in problems if not split or split_of(p.skeleton) == split], n, seed)


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
        answer=str(answer) if isinstance(answer, int | float) else answer,
        verifier=row.get("verifier", "math"),
        family=row.get("family", path.stem),
        skeleton=row["skeleton"] if "skeleton" in row else row["prompt"],
        meta=row.get("meta", {}),
    )
