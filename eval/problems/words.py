"""Word problems of two and three steps, in the manner of GSM8K, made by procedure.

The skeleton (the first number, then each operation and its number) decides the split, so that a test
problem never repeats the sums of a training problem under other names.
"""

import random
from dataclasses import dataclass

from eval.problems.draw import distinct
from eval.problems.split import require_split, split_of
from rewards.types import Problem

NAMES = {"He": ("Tom", "Ben", "Sam", "Max", "Leo", "Jack"), "She": ("Anna", "Mia", "Lily", "Emma", "Zoe", "Kate")}
THINGS = ("apples", "books", "coins", "marbles", "stickers", "cards", "pens", "eggs", "shells", "toys")
GAINS = ("buys", "finds", "gets", "wins")
LOSSES = ("gives away", "loses", "sells", "drops")
QUESTIONS = ("How many are left?", "How many are there now?")

LARGEST_START = 15
LARGEST_NUMBER = 9
LARGEST_TOTAL = 30


@dataclass(frozen=True)
class Step:
    """One change: a verb, the operator it means, and by how much."""

    verb: str
    operator: str
    number: int

    def apply(self, total: int) -> int:
        return total + self.number if self.operator == "+" else total - self.number


@dataclass(frozen=True)
class Story:
    """A word problem with everything needed to tell it, and to write a trace of its solution."""

    pronoun: str
    name: str
    thing: str
    question: str
    start: int
    steps: tuple[Step, ...]

    @property
    def skeleton(self) -> str:
        return " ".join([str(self.start), *(f"{step.operator}{step.number}" for step in self.steps)])

    @property
    def totals(self) -> list[int]:
        """The running totals: before the first step, and after each."""
        totals = [self.start]
        for step in self.steps:
            totals.append(step.apply(totals[-1]))
        return totals

    @property
    def answer(self) -> int:
        return self.totals[-1]

    @property
    def passage(self) -> str:
        """What happens, without the question."""
        clauses = [f"{step.verb} {step.number}{' more' if step.operator == '+' else ''}" for step in self.steps]
        changes = f"{self.pronoun} {', '.join(clauses[:-1])} and {clauses[-1]}."
        return f"{self.name} has {self.start} {self.thing}. {changes}"

    @property
    def prompt(self) -> str:
        return f"{self.passage} {self.question}"

    def problem(self, problem_id: str, family: str = "word_problems", prompt: str | None = None) -> Problem:
        return Problem(
            id=problem_id,
            prompt=self.prompt if prompt is None else prompt,
            answer=str(self.answer),
            verifier="math",
            family=family,
            skeleton=self.skeleton,
            meta={"steps": len(self.steps)},
        )


def draw_story(rng: random.Random) -> Story:
    """A random story whose totals stay between 0 and `LARGEST_TOTAL`; no verb is used twice."""
    pronoun = rng.choice(tuple(NAMES))
    start = rng.randint(2, LARGEST_START)
    # Shuffled once and taken from the end, so that no verb is used twice.
    gains, losses = rng.sample(GAINS, len(GAINS)), rng.sample(LOSSES, len(LOSSES))
    steps: list[Step] = []
    total = start
    for _ in range(rng.choice((2, 3))):
        number = rng.randint(2, LARGEST_NUMBER)
        # A loss that would lead below zero becomes a gain; a gain needs room below the largest total.
        gaining = total - number < 0 or (total + number <= LARGEST_TOTAL and rng.random() < 0.5)
        steps.append(Step((gains if gaining else losses).pop(), "+" if gaining else "-", number))
        total = steps[-1].apply(total)
    return Story(pronoun, rng.choice(NAMES[pronoun]), rng.choice(THINGS), rng.choice(QUESTIONS), start, tuple(steps))


def draw_story_of(split: str, rng: random.Random) -> Story:
    """A random story of this split (`train` or `test`)."""
    while split_of((story := draw_story(rng)).skeleton) != split:
        pass
    return story


def word_problems(split: str, n: int | None, seed: int) -> list[Problem]:
    """Word problems of two or three additions and subtractions, split by their sums."""
    require_split("word_problems", split)
    rng = random.Random(f"word_problems:{split}:{seed}")
    stories = distinct(lambda: draw_story_of(split, rng), 1000 if n is None else n)
    return [story.problem(f"word_problems-{split}-{seed}-{i}") for i, story in enumerate(stories)]
