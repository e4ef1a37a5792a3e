"""Word problems in a long text: the passage that matters stands somewhere among sentences that do not."""

import random

from eval.problems import require_split
from eval.problems.draw import distinct
from eval.problems.filler import hide
from eval.problems.words import draw_story_of
from rewards.types import Problem

LENGTH = 240  # pieces of the prompt: four times a short problem with its solution, less room for the solution


def long_word_problems(split: str, n: int | None, seed: int) -> list[Problem]:
    """Word problems of two or three steps among filler, about 240 words each, split by their sums."""
    require_split("long_word_problems", split)
    rng = random.Random(f"long_word_problems:{split}:{seed}")
    problems = []
    for i, story in enumerate(distinct(lambda: draw_story_of(split, rng), 1000 if n is None else n)):
        name = f"long_word_problems-{split}-{seed}-{i}"
        rng_of_text = random.Random(name)
        prompt = hide(story.passage, story.question, LENGTH, rng_of_text.random(), rng_of_text)
        problems.append(story.problem(name, "long_word_problems", prompt))
    return problems
