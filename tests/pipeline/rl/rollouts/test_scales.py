"""Scales of other people's rewards are told once, and where one outweighs the rest."""

import json
from pathlib import Path

import pytest

from pipeline.rl.rollouts.scales import Scales
from rewards.rubric import Rubric


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("a", "b")
    (tmp_path / "mine.py").write_text("".join(f"def {name}(completions): return [0.0]\n" for name in names))
    return tmp_path


def scales(folder: Path, correct: float, **weights: float) -> Scales:
    rules = {f"trl:mine.py:{name}" if name in "ab" else name: weight for name, weight in weights.items()}
    return Scales(Rubric.model_validate({"correct": correct, "rules": rules}, context={"base": folder}))


def test_they_are_told_once(folder: Path) -> None:
    seen = scales(folder, 1.0, a=0.5, format=0.2)
    assert seen.notes() == []
    seen.see({"correct": [1.0, 0.0], "a": [0.5, 0.5], "format": [1.0]})
    assert seen.notes() == []  # of one value nobody sees a scale
    seen.see({"correct": [1.0, 0.0], "a": [0.0, 1.0], "format": [1.0]})
    assert seen.notes() == ["rewards seen so far: a 0 to 1 (weight 0.5); a correct verdict is worth 1"]
    assert seen.figures() == {"reward/a/least": 0.0, "reward/a/most": 1.0}
    seen.see({"a": [-0.5]})
    assert seen.figures() == {"reward/a/least": -0.5, "reward/a/most": 1.0}
    assert seen.notes() == []


@pytest.mark.parametrize(("correct", "weights", "values", "told"), [
    (1.0, {"a": 1.0}, {"a": [-1.0, 1.0]}, "a outweighs the rest of the reward: from -1 to 1 it moves the total by 2, "
                                          "all else by 1; a weight of 0.5 would make them equal"),
    (1.0, {"a": 1.0}, {"a": [0.0, 10.0]}, "a weight of 0.1 would make"),
    (1.0, {"a": 0.1}, {"a": [0.0, 10.0]}, ""), (1.0, {"a": 1.0}, {"a": [0.0, 1.0]}, ""),
    (0.0, {"a": 1.0}, {"a": [0.0, 10.0]}, ""),  # it alone is the reward
    (0.0, {"a": 1.0, "b": 1.0}, {"a": [0.0, 10.0], "b": [0.0, 1.0]}, "a outweighs"),
    (0.0, {"a": 1.0, "b": 1.0}, {"a": [0.0, 10.0], "b": [1.0, 1.0]}, ""),  # the other may yet move
    (0.0, {"a": 0.1, "b": -3.0}, {"a": [0.0, 10.0], "b": [0.0, 1.0]}, "b outweighs"),
    (0.1, {"format": 1.0}, {"format": [0.0, 1.0]}, ""),  # of what is built in the scale is known
])
def test_what_outweighs_the_rest(
    folder: Path, correct: float, weights: dict[str, float], values: dict[str, list[float]], told: str
) -> None:
    seen = scales(folder, correct, **weights)
    seen.see(values)
    lines = [line for line in seen.notes() if "outweighs" in line]
    assert len(lines) == bool(told)
    assert all(told in line for line in lines)
    again = scales(folder, correct, **weights)
    again.restore(json.loads(json.dumps(seen.state())))
    assert again.notes() == []
