"""The reward: credit for a correct verdict plus weighted rules, checked when a recipe is read."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rewards.rubric import Rubric, RubricError
from rewards.types import Completion, Label, Problem, Verdict

PROBLEM = Problem("1", "How many are left?", "5", "math", "words")
GOOD = Completion("<think>a</think><answer>5</answer>", tokens=95)


def test_total_and_parts() -> None:
    rubric = Rubric(rules={"format": 0.2, "overlong": {"weight": 0.5, "most": 100, "buffer": 10}})
    reward = rubric.score(PROBLEM, GOOD, Verdict(Label.CORRECT))
    assert reward.total == pytest.approx(1.0 + 0.2 - 0.25)
    assert reward.parts == {"correct": 1.0, "format": 1.0, "overlong": -0.5}
    for label in (Label.WRONG, Label.NO_ANSWER, Label.TRUNCATED):
        assert rubric.score(PROBLEM, GOOD, Verdict(label)).total == pytest.approx(0.2 - 0.25)


def test_partial_credit_is_an_option() -> None:
    half = Verdict(Label.WRONG, share=0.5)
    assert Rubric().score(PROBLEM, GOOD, half).total == 0.0
    some = Rubric(correct=2.0, partial=True)
    assert some.score(PROBLEM, GOOD, half).total == 1.0
    assert some.score(PROBLEM, GOOD, half).parts == {"correct": 0.5}
    assert some.score(PROBLEM, GOOD, Verdict(Label.CORRECT, share=1.0)).total == 2.0
    assert some.score(PROBLEM, GOOD, Verdict(Label.WRONG)).total == 0.0
    assert some.score(PROBLEM, GOOD, Verdict(Label.UNGRADABLE, share=0.5)).total is None


def test_ungradable_has_no_reward() -> None:
    reward = Rubric(rules={"format": 0.2}).score(PROBLEM, GOOD, Verdict(Label.UNGRADABLE))
    assert reward.total is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rules": {"formt": 1}}, "did you mean 'format'"),
        ({"rules": {"overlong": {"most": 3}}}, "needs the option 'buffer'"),
        ({"rules": {"overlong": {"mst": 3, "buffer": 1}}}, "did you mean 'most'"),
        ({"rules": {"overlong": {"most": "x", "buffer": 1}}}, "option most"),
        ({"rules": {"format": {"weight": "much"}}}, "weight is a number"),
        ({"corect": 1}, "corect"),
    ],
)
def test_mistakes_are_found_when_it_is_read(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Rubric.model_validate(given)


def test_a_rule_in_a_file_beside_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('def bold(problem, completion, *, least: float = 0.5):\n    "Bold."\n    return least\n')
    rubric = Rubric.model_validate({"rules": {"mine.py:bold": {"weight": 2, "least": 1}}}, context={"base": tmp_path})
    assert rubric.score(PROBLEM, GOOD, Verdict(Label.WRONG)).parts == {"correct": 0.0, "bold": 1.0}
    (entry,) = rubric.plug_ins()
    before = entry.source_hash()
    file.write_text(file.read_text() + "\n# changed\n")
    assert entry.source_hash() != before


@pytest.mark.parametrize("body", ["1 / 0", "float('nan')", "'much'", "exit(4)"])
def test_a_rule_that_fails_is_named(tmp_path: Path, body: str) -> None:
    (tmp_path / "mine.py").write_text(f"def bad(problem, completion):\n    return {body}\n")
    rubric = Rubric.model_validate({"rules": {"mine.py:bad": 1.0}}, context={"base": tmp_path})
    with pytest.raises(RubricError, match="bad"):
        rubric.score(PROBLEM, GOOD, Verdict(Label.WRONG))


def test_it_is_frozen_and_survives_a_round_trip() -> None:
    rubric = Rubric(correct=2, rules={"length": {"weight": 0.5, "most": 100}})
    again = Rubric.model_validate(rubric.model_dump())
    assert again == rubric
    assert again.score(PROBLEM, GOOD, Verdict(Label.CORRECT)).total == 2.5
    with pytest.raises(ValidationError):
        rubric.correct = 3
