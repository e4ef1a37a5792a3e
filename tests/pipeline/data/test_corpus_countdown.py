"""Countdown on the synthetic web: right where it says so, wrong where it does not, and only training problems."""

import random

import pytest

from eval.problems.split import split_of
from pipeline.data.corpus import BEHAVIOURS
from pipeline.data.corpus.countdown import draw_training_countdown, tell_countdown
from pipeline.data.corpus.telling import ENGLISH
from rewards.grade import grade
from rewards.types import Completion, Label

RIGHT = {"correct": True, "corrected": True, "with_errors": False, "empty": False, "guess": False}


@pytest.mark.parametrize("behaviour", [name for name in BEHAVIOURS if not name.startswith("plain")])
def test_answers_are_what_the_behaviour_says(behaviour: str) -> None:
    rng = random.Random(0)
    for _ in range(100):
        problem = draw_training_countdown(rng)
        assert split_of(problem.skeleton) == "train"
        verdict = grade(problem, Completion(tell_countdown(problem, behaviour, ENGLISH, rng)))
        assert (verdict.label is Label.CORRECT) == RIGHT[behaviour], verdict.reason


def test_every_step_of_a_trace_is_true() -> None:
    rng = random.Random(1)
    for _ in range(100):
        told = tell_countdown(draw_training_countdown(rng), "plain", ENGLISH, rng)
        for sentence in told.split(". "):
            left, equals, right = sentence.rstrip(".").partition(" = ")
            if equals:
                ordinal, a, sign, b = left.split()
                assert ordinal in ENGLISH.ordinals
                value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b), "/": int(a) // int(b)}[sign]
                assert value == int(right)
