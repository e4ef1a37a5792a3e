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


def spread(sentences: list[str], length: int, rng: random.Random, *, last: bool = True) -> str:
    """The sentences in their order with filler between them, about `length` pieces in all (never more by a sentence).

    With `last` the last sentence stays at the end, as a question does.
    """
    told, question = (sentences[:-1], sentences[-1:]) if last else (sentences, [])
    room = length - sum(pieces(part) for part in sentences)
    filler: list[str] = []
    while (next_one := sentence(rng)) and room >= pieces(next_one):
        filler.append(next_one)
        room -= pieces(next_one)
    places = sorted(rng.sample(range(len(told) + len(filler)), len(told)))
    text: list[str] = []
    told_left, filler_left = iter(told), iter(filler)
    for place in range(len(told) + len(filler)):
        text.append(next(told_left) if place in places else next(filler_left))
    return " ".join(text + question)
