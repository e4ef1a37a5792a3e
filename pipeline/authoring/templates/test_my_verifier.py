from pathlib import Path

import pytest

from rewards.grade import grade
from rewards.types import Completion, Label, Problem

VERIFIER = f"{Path(__file__).with_name('my_verifier.py')}:my_verifier"
PROBLEM = Problem(id="1", prompt="What is 22 / 7?", answer="3.142857", verifier=VERIFIER, family="divisions")


@pytest.mark.parametrize(("text", "label"), [
    ("<think>Three and a bit.</think><answer>3.14</answer>", Label.CORRECT),
    ("<think>Three and a bit.</think><answer>3.3</answer>", Label.WRONG),
    ("<think>Three and a bit.</think><answer>three</answer>", Label.WRONG),
    ("", Label.NO_ANSWER),
])
def test_my_verifier(text: str, label: Label) -> None:
    assert grade(PROBLEM, Completion(text)).label == label
