"""Word problems after a long text that has nothing to do with them.

The passage stands at the end, before the question, so that what is asked for is to stay oneself far beyond the first
positions; finding something anywhere in a long text is what `needle` asks for.
"""

import random

from eval.problems import require_split
from eval.problems.draw import distinct
from eval.problems.filler import hide
from eval.problems.words import draw_story_of
from rewards.types import Problem

LENGTH = 240  # pieces of the prompt: four times a short problem with its solution, less room for the solution


def long_word_problems(split: str, n: int | None, seed: int) -> list[Problem]:
    """Word problems of two or three steps after filler, about 240 words in all, split by their sums."""
    require_split("long_word_problems", split)
    rng = random.Random(f"long_word_problems:{split}:{seed}")
    problems = []
    for i, story in enumerate(distinct(lambda: draw_story_of(split, rng), 1000 if n is None else n)):
        name = f"long_word_problems-{split}-{seed}-{i}"
        prompt = hide(story.passage, story.question, LENGTH, 1.0, random.Random(name))
        problems.append(story.problem(name, "long_word_problems", prompt))
    return problems
