"""What solutions are made of: sums, and the steps of a question in their order."""

import random

from eval.problems.programs import Program
from eval.problems.words import LARGEST_NUMBER, LARGEST_TOTAL, Story
from pipeline.corpus.telling import Connectives


def fact(rng: random.Random) -> str:
    """A few sums that word problems are made of."""
    return " ".join(_sum(rng) for _ in range(8))


def list_steps(told: Story | Program, connectives: Connectives) -> str:
    """The steps of a question in order, which is where a solution begins."""
    if isinstance(told, Story):
        steps = [str(told.start), *(f"{step.verb} {step.number}" for step in told.steps)]
    else:
        steps = [operation.phrase for operation in told.operations]
    return " ".join([f"{connectives.first} {steps[0]}.", *(f"{connectives.then} {step}." for step in steps[1:])])


def _sum(rng: random.Random) -> str:
    total, number = rng.randint(0, LARGEST_TOTAL), rng.randint(2, LARGEST_NUMBER)
    if total >= number and (total + number > LARGEST_TOTAL or rng.random() < 0.5):
        return f"{total} - {number} = {total - number}."
    return f"{total} + {number} = {total + number}."
