"""What a scorer of reasoning-gym comes to, with a stand-in for the package, which is not needed for that."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rewards import gym
from rewards.grade import grade
from rewards.types import Completion, Label, Problem

STAND_IN = """
class Sums:
    def __getitem__(self, index):
        return {"answer": str(index)}

    def score_answer(self, answer, entry):
        if entry["answer"] == "13":
            raise ValueError("nobody can score this one")
        return float(int(answer) == int(entry["answer"]))


def create_dataset(name, seed, size):
    return Sums()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "reasoning_gym.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    gym.close()
    yield
    gym.close()


@pytest.mark.parametrize(("index", "answer", "label"), [
    (5, "5", Label.CORRECT), (5, "6", Label.WRONG), (5, "many", Label.WRONG), (13, "13", Label.UNGRADABLE),
])
@pytest.mark.usefixtures("stand_in")
def test_an_answer_that_no_scorer_can_read_is_wrong(index: int, answer: str, label: Label) -> None:
    problem = Problem("p", "", {"generator": "sums", "seed": 0, "index": index}, "gym", "")
    assert grade(problem, Completion(f"<answer>{answer}</answer>")).label is label
