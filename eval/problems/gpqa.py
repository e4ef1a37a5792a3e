"""GPQA-diamond: 198 graduate-level multiple-choice questions (Rein et al. 2023, arXiv 2311.12022). Gated on the hub."""

import random

from eval.problems.data_folder import Source
from eval.problems.draw import draw
from eval.protocol import sha256_of
from eval.row_files import Row
from rewards.types import Problem

WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
COLUMNS = ("Question", "Correct Answer", *WRONG)
SOURCE = Source("gpqa_diamond", "Idavidrein/gpqa", ("test",), COLUMNS, config="gpqa_diamond", hub_split="train",
                text=("Question",))
LETTERS = "ABCD"


def gpqa_diamond(split: str, n: int | None, seed: int) -> list[Problem]:
    """GPQA-diamond: 198 multiple-choice questions in biology, physics and chemistry; test only."""
    return draw([_problem(row) for row in SOURCE.rows(split)], n, seed)


def _problem(row: Row) -> Problem:
    """The choices are shuffled by the question alone: the right letter is the same in every evaluation."""
    question = row["Question"].strip()
    choices = [str(row[column]).strip() for column in ("Correct Answer", *WRONG)]
    # The content gives the id, whatever the order of the rows.
    name = sha256_of([question, *choices])[:12]
    order = list(range(4))
    random.Random(f"gpqa:{name}").shuffle(order)
    shuffled = [choices[i] for i in order]
    listed = "\n".join(f"{letter}) {choice}" for letter, choice in zip(LETTERS, shuffled, strict=True))
    prompt = f"{question}\n\n{listed}\n\nAnswer with the letter of the right choice."
    return Problem(
        id=f"gpqa-{name}",
        prompt=prompt,
        answer={"letter": LETTERS[order.index(0)], "choices": shuffled},
        verifier="choice",
        family="gpqa_diamond",
        skeleton=prompt,
        meta={"domain": row["High-level domain"]} if row.get("High-level domain") else {},
    )
