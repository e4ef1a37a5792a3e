from pathlib import Path

import pytest

from rewards.rubric import Rubric
from rewards.types import Completion, Label, Problem, Verdict

PROBLEM = Problem(id="1", prompt="What is 2 + 3?", answer="5", verifier="math", family="sums")


def rubric(**options: object) -> Rubric:
    """A rubric with this rule alone, named as a recipe in this folder names it."""
    rules = {"my_rule.py:my_rule": {"weight": 1.0, **options}}
    return Rubric.model_validate({"rules": rules}, context={"base": Path(__file__).parent})


@pytest.mark.parametrize(("text", "value"), [("", 1.0), ("one two", 1.0), ("one two three", 0.5), ("a b c d", 0.0)])
def test_my_rule(text: str, value: float) -> None:
    reward = rubric(most=2).score(PROBLEM, Completion(text), Verdict(Label.WRONG))
    assert reward.parts["my_rule"] == value
    assert reward.total == value


def test_my_rule_takes_no_option_that_it_does_not_have() -> None:
    with pytest.raises(ValueError, match="no option"):
        rubric(moost=2)
