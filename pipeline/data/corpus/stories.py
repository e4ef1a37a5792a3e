"""Word problems as people on the synthetic web solve them."""

import random

from eval.problems.words import LARGEST_TOTAL, Step, Story
from pipeline.data.corpus.telling import Connectives, near, tagged


def tell_story(story: Story, behaviour: str, connectives: Connectives, rng: random.Random) -> str:
    """What somebody with this behaviour writes under a word problem."""
    if behaviour == "guess":
        return str(near(story.answer, rng))
    if behaviour == "empty":
        return tagged("", str(near(story.answer, rng)))
    errors = behaviour in ("with_errors", "plain_with_errors")
    corrected = behaviour == "corrected"
    faulty = rng.randrange(len(story.steps)) if errors or corrected else None
    trace, answer = story_trace(story, connectives, rng, faulty, corrected)
    return trace if behaviour.startswith("plain") else tagged(trace, str(answer))


def story_trace(
    story: Story, connectives: Connectives, rng: random.Random, faulty: int | None = None, corrected: bool = False
) -> tuple[str, int]:
    """A trace and the answer that it comes to; step `faulty` is done wrong, and noticed if `corrected`."""
    total = story.start
    parts = []
    for index, step in enumerate(story.steps):
        result = step.apply(total)
        if index == faulty:
            wrong = _wrong_step(step, total, rng)
            parts.append(f"{step.verb} {step.number}: {wrong}")
            if corrected:
                parts[-1] += f". {connectives.wait}, {_equation(step, total)}"
            else:
                result = int(wrong.rpartition(" ")[2])
        else:
            parts.append(f"{step.verb} {step.number}: {_equation(step, total)}")
        total = result
    return f"{connectives.start} {story.start}. {connectives.number(parts)}", total


def _equation(step: Step, total: int) -> str:
    return f"{total} {step.operator} {step.number} = {step.apply(total)}"


def _wrong_step(step: Step, total: int, rng: random.Random) -> str:
    """The wrong operator, or a result that is off."""
    flipped = Step(step.verb, "-" if step.operator == "+" else "+", step.number)
    if rng.random() < 0.5 and 0 <= flipped.apply(total) <= LARGEST_TOTAL:
        return _equation(flipped, total)
    return f"{total} {step.operator} {step.number} = {near(step.apply(total), rng)}"
