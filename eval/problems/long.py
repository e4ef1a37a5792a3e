"""Word problems told over a long text: the sentences that matter stand far apart among others that do not."""

import random

from eval.problems import require_split
from eval.problems.draw import distinct
from eval.problems.filler import spread
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
        prompt = spread(story.sentences, LENGTH, random.Random(name))
        problems.append(story.problem(name, "long_word_problems", prompt))
    return problems
