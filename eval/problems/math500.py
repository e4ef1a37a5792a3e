"""MATH-500: the 500 test problems of MATH (Hendrycks et al. 2021) that Lightman et al. 2023 kept."""

from eval.problems.data_folder import Source
from eval.problems.draw import draw
from rewards.types import Problem

COLUMNS = ("problem", "solution", "answer", "subject", "level", "unique_id")
SOURCE = Source("math500", "HuggingFaceH4/MATH-500", ("test",), COLUMNS)


def math500(split: str, n: int | None, seed: int) -> list[Problem]:
    """MATH-500: competition mathematics in seven subjects and five levels; test only."""
    problems = [
        Problem(
            id=f"math500-{row['unique_id'].removesuffix('.json')}",
            prompt=row["problem"].strip(),
            answer=row["answer"],
            verifier="math",
            family="math500",
            skeleton=row["problem"].strip(),
            meta={"subject": row["subject"], "level": row["level"], "solution": row["solution"]},
        )
        for row in SOURCE.rows(split)
    ]
    return draw(problems, n, seed)
