"""AIME 2024 and 2025: thirty competition problems each, with whole numbers from 0 to 999 for answers."""

from eval.errors import ProblemSetError
from eval.problems.data_folder import Source
from eval.problems.draw import draw
from eval.row_files import Row
from rewards.types import Problem

COLUMNS = ("id", "problem", "answer")
# On the hub the only split of the first is called "train", although all of it is for testing.
SOURCE_2024 = Source("aime2024", "HuggingFaceH4/aime_2024", ("test",), COLUMNS, hub_split="train", text=("problem",))
SOURCE_2025 = Source("aime2025", "math-ai/aime25", ("test",), COLUMNS, text=("problem",))


def aime2024(split: str, n: int | None, seed: int) -> list[Problem]:
    """AIME 2024, I and II: 30 competition problems; test only."""
    return draw(_problems(SOURCE_2024, split), n, seed)


def aime2025(split: str, n: int | None, seed: int) -> list[Problem]:
    """AIME 2025, I and II: 30 competition problems; test only."""
    return draw(_problems(SOURCE_2025, split), n, seed)


def _problems(source: Source, split: str) -> list[Problem]:
    return [
        Problem(
            id=f"{source.name}-{row['id']}",
            prompt=row["problem"].strip(),
            answer=_answer(row, source.name),
            verifier="math",
            family=source.name,
            skeleton=row["problem"].strip(),
        )
        for row in source.rows(split)
    ]


def _answer(row: Row, name: str) -> str:
    """The answer without leading zeros, which AIME's answer sheets have ("073"), and without the sign of degrees, which
    one copy of 2025's has."""
    text = str(row["answer"]).strip().removesuffix("^\\circ")
    if not text.isdecimal() or int(text) > 999:
        raise ProblemSetError(f"{name} row {row['id']}: the answer {text!r} is no whole number from 0 to 999")
    return str(int(text))
