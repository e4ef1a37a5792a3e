"""GSM8K: grade-school word problems (Cobbe et al. 2021, arXiv 2110.14168)."""

from eval.errors import ProblemSetError
from eval.problems.data_folder import Source
from eval.problems.draw import draw
from rewards.types import Problem

SOURCE = Source("gsm8k", "openai/gsm8k", ("train", "test"), ("question", "answer"), config="main",
                text=("question", "answer"))


def gsm8k(split: str, n: int | None, seed: int) -> list[Problem]:
    """GSM8K: 7473 and 1319 grade-school word problems with whole-number answers."""
    problems = [
        Problem(
            id=f"gsm8k-{split}-{i}",
            prompt=row["question"].strip(),
            answer=_final(row["answer"], f"gsm8k:{split} row {i}"),
            verifier="math",
            family="gsm8k",
            skeleton=row["question"].strip(),
            meta={"solution": row["answer"]},
        )
        for i, row in enumerate(SOURCE.rows(split))
    ]
    return draw(problems, n, seed)


def _final(solution: str, where: str) -> str:
    """The number after the last `####`, without thousands separators."""
    _, mark, final = solution.rpartition("####")
    if not mark or not final.strip():
        raise ProblemSetError(f"{where} has no answer after '####'")
    # Some answers have separators of thousands, which say nothing; without them the answer is one spelling.
    return final.strip().replace(",", "")
