"""Products of numbers of two digits."""

import pytest

from eval.problems import load
from eval.tools.calculator import calculator
from rewards.grade import grade
from rewards.types import Completion


@pytest.mark.parametrize("split", ["train", "test"])
def test_products_are_right_and_of_one_split(split: str) -> None:
    problems = load(f"products:{split}", 100)
    for problem in problems:
        assert calculator(problem.skeleton) == problem.answer
        numbers = [word.rstrip(".") for word in problem.prompt.split() if word[0].isdigit()]
        assert numbers == [word for word in problem.skeleton.split() if word.isdigit()]
        assert grade(problem, Completion(f"<answer>{problem.answer}</answer>")).correct
    other = "train" if split == "test" else "test"
    assert not {p.skeleton for p in problems} & {p.skeleton for p in load(f"products:{other}", 100, 3)}
