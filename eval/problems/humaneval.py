"""HumanEval: 164 Python functions to complete (Chen et al. 2021, arXiv 2107.03374)."""

from eval.problems.data_folder import Source
from eval.problems.draw import draw
from rewards.types import Problem

COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
SOURCE = Source("humaneval", "openai/openai_humaneval", ("test",), COLUMNS, whole=True,
                text=COLUMNS)
SECONDS = 10.0
"""For all checks of a problem; the slowest reference solution takes about a third of that."""


def humaneval(split: str, n: int | None, seed: int) -> list[Problem]:
    """HumanEval: 164 Python functions to complete, checked by the data set's own tests; test only."""
    problems = [
        Problem(
            id=row["task_id"],
            prompt=row["prompt"],  # not stripped: a completion goes on where it ends
            answer={"entry": row["entry_point"], "prefix": row["prompt"], "check": row["test"], "seconds": SECONDS},
            verifier="code",
            family="humaneval",
            skeleton=row["prompt"],
            meta={"solution": row["canonical_solution"]},
        )
        for row in SOURCE.rows(split)
    ]
    return draw(problems, n, seed)
