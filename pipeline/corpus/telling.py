"""What every kind of text in the corpus is told with: tags, connectives of two languages, and near misses."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Connectives:
    first: str
    then: str
    wait: str


ENGLISH = Connectives("First", "Then", "Wait")
GERMAN = Connectives("Zuerst", "Dann", "Moment")


def tagged(thinking: str, answer: str) -> str:
    """Thinking and answer as R1 writes them."""
    return f"<think>{thinking}</think><answer>{answer}</answer>"


def near(number: int, rng: random.Random) -> int:
    """A number close to this one, and never this one."""
    while (other := max(0, number + rng.randint(-9, 9))) == number:
        pass
    return other
