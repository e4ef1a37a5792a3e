from pathlib import Path

import pytest

from eval.problems import load
from rewards.grade import grade
from rewards.types import Completion, Label, Problem


def problems(split: str, n: int | None) -> list[Problem]:
    """Problems of this set, named as a recipe in this folder names it."""
    return load(f"my_problems.py:my_problems:{split}", n, 0, base=Path(__file__).parent)


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_answer_is_right_for_its_own_verifier(split: str) -> None:
    for problem in problems(split, 8):
        assert grade(problem, Completion(f"<answer>{problem.answer}</answer>")).label == Label.CORRECT


def test_asking_for_more_only_adds() -> None:
    assert problems("train", 16)[:8] == problems("train", 8)


def test_no_problem_is_in_both_splits() -> None:
    trained, tested = ({problem.skeleton for problem in problems(split, None)} for split in ("train", "test"))
    assert trained.isdisjoint(tested)
