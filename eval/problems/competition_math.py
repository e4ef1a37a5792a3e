"""MATH (Hendrycks et al. 2021, arXiv 2103.03874), divided as Lightman et al. 2023 (arXiv 2305.20050) did: the 500 test
problems that they kept, and the other 12,000 to train on."""

from eval.errors import ProblemSetError
from eval.problems.data_folder import Source
from eval.problems.draw import draw
from eval.problems.files import is_answer
from eval.row_files import Row
from eval.row_files.types import shown
from rewards.types import Problem

COLUMNS = ("problem", "solution", "answer", "subject", "level", "unique_id")
_TEXT = ("problem", "solution", "unique_id")
TEST = Source("math500", "HuggingFaceH4/MATH-500", ("test",), COLUMNS, text=_TEXT)
TRAIN = Source("math", "nlile/hendrycks-MATH-benchmark", ("train",), COLUMNS, text=_TEXT)


def math500(split: str, n: int | None, seed: int) -> list[Problem]:
    """MATH-500: competition mathematics in seven subjects and five levels; test only."""
    return draw(_problems(TEST, split), n, seed)


def math(split: str, n: int | None, seed: int) -> list[Problem]:
    """MATH: the 12,000 problems of competition mathematics that are not in MATH-500; train only."""
    return draw(_problems(TRAIN, split), n, seed)


def _problems(source: Source, split: str) -> list[Problem]:
    return [
        Problem(
            id=f"{source.name}-{row['unique_id'].removesuffix('.json')}",
            prompt=row["problem"].strip(),
            answer=_answer(row),
            verifier="math",
            family=source.name,
            skeleton=row["problem"].strip(),
            meta={"subject": row["subject"], "level": row["level"], "solution": row["solution"]},
        )
        for row in source.rows(split)
    ]


def _answer(row: Row) -> object:
    if not is_answer(row["answer"]):
        raise ProblemSetError(f"{row['unique_id']}: 'answer' must be a text or a number, not {shown(row['answer'])}")
    return row["answer"]
