"""What every kind of text in the corpus is told with: tags, connectives of two languages, and near misses."""

import random
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Connectives:
    """The words that hold a trace together. The ordinals say which step is due, so that a small model need not look
    back for it."""

    start: str
    ordinals: tuple[str, str, str]
    wait: str

    def number(self, steps: Iterable[str]) -> str:
        """Up to three steps in their order, each a sentence."""
        return " ".join(f"{ordinal} {step}." for ordinal, step in zip(self.ordinals, steps, strict=False))


ENGLISH = Connectives("Has", ("First", "Second", "Third"), "Wait")
GERMAN = Connectives("Hat", ("Erstens", "Zweitens", "Drittens"), "Moment")


def tagged(thinking: str, answer: str) -> str:
    """Thinking and answer as R1 writes them."""
    return f"<think>{thinking}</think><answer>{answer}</answer>"


def near(number: int, rng: random.Random) -> int:
    """A number close to this one, and never this one."""
    while (other := max(0, number + rng.randint(-9, 9))) == number:
        pass
    return other
