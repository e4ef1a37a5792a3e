"""A rule for rewards. In a recipe, beside its file:

    reward: {correct: 1.0, rules: {my_rule.py:my_rule: {weight: 0.1, most: 200}}}
"""

from rewards.types import Completion, Problem


def my_rule(problem: Problem, completion: Completion, *, most: int = 200) -> float:
    """1.0 for a completion of at most `most` words, falling evenly to 0.0 at twice as many."""
    words = len(completion.text.split())
    return max(0.0, min(1.0, 2.0 - words / most))
