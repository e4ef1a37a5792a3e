"""Word problems in a long text that has nothing to do with them: the passage anywhere, the question at the end."""

import random
from dataclasses import replace

from eval.problems.draw import distinct
from eval.problems.filler import hide
from eval.problems.split import require_split
from eval.problems.words import draw_story_of
from rewards.types import Problem

LENGTH = 240  # pieces of the prompt: four times a short problem with its solution, less room for the solution
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # where the passage stands in the filler


def long_word_problems(split: str, n: int | None, seed: int) -> list[Problem]:
    """Word problems of two or three steps in filler, about 240 words in all, split by their sums."""
    require_split("long_word_problems", split)
    rng = random.Random(f"long_word_problems:{split}:{seed}")
    problems = []
    for i, story in enumerate(distinct(lambda: draw_story_of(split, rng), 1000 if n is None else n)):
        name = f"long_word_problems-{split}-{seed}-{i}"
        depth = DEPTHS[i % len(DEPTHS)]
        prompt = hide(story.passage, story.question, LENGTH, depth, random.Random(name))
        problem = story.problem(name, "long_word_problems", prompt)
        problems.append(replace(problem, meta={**problem.meta, "depth": depth}))
    return problems
