"""What solutions are made of: sums, and the steps of a question in their order."""

import random

from eval.problems.programs import Program
from eval.problems.words import LARGEST_NUMBER, LARGEST_TOTAL, Story
from pipeline.data.corpus.telling import Connectives


def fact(rng: random.Random) -> str:
    """A few sums that word problems are made of."""
    return " ".join(_sum(rng) for _ in range(8))


def list_steps(told: Story | Program, connectives: Connectives, rng: random.Random) -> str:
    """The steps of a question in order, which is where a solution begins; or a story's in any order, without saying
    which is which: then only the verb tells what number follows, and that is what has to be learned of a prompt
    first."""
    if isinstance(told, Story):
        steps = [f"{step.verb} {step.number}" for step in told.steps]
        if rng.random() < 0.5:
            return " ".join(f"{step}." for step in rng.sample(steps, len(steps)))
        return f"{connectives.start} {told.start}. {connectives.number(steps)}"
    return connectives.number(operation.phrase for operation in told.operations)


def _sum(rng: random.Random) -> str:
    total, number = rng.randint(0, LARGEST_TOTAL), rng.randint(2, LARGEST_NUMBER)
    if total >= number and (total + number > LARGEST_TOTAL or rng.random() < 0.5):
        return f"{total} - {number} = {total - number}."
    return f"{total} + {number} = {total + number}."
