"""Sentences that mean nothing to any problem, to stand between the ones that do."""

import random
import re

SUBJECTS = ("The sun", "The moon", "The rain", "The river", "The wind", "The road", "The old house", "The garden")
VERBS = ("is", "was", "seems", "looks")
ADJECTIVES = ("warm", "cold", "quiet", "bright", "long", "grey", "slow", "wide", "calm")
TIMES = ("today", "again", "in spring", "at night", "this year", "as always")


def sentence(rng: random.Random) -> str:
    """A sentence of five to eight pieces, without numbers or names."""
    parts = [rng.choice(SUBJECTS), rng.choice(VERBS), rng.choice(ADJECTIVES)]
    if rng.random() < 0.5:
        parts.append(rng.choice(TIMES))
    return " ".join(parts) + "."


def pieces(text: str) -> int:
    """Length of a text in words and punctuation marks: tokens of a word-level tokenizer, without loading one."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def filler(room: int, rng: random.Random) -> list[str]:
    """Sentences of at most `room` pieces in all, and within a sentence of it."""
    sentences: list[str] = []
    while (next_one := sentence(rng)) and room >= pieces(next_one):
        sentences.append(next_one)
        room -= pieces(next_one)
    return sentences


def hide(passage: str, question: str, length: int, depth: float, rng: random.Random) -> str:
    """A text of about `length` pieces with the passage at `depth` (0 is the beginning, 1 just before the question)."""
    around = filler(length - pieces(passage) - pieces(question), rng)
    # Between sentences, so that the passage is never cut.
    around.insert(round(depth * len(around)), passage)
    return " ".join([*around, question])
