"""The rule `ordered_thinking`: a reward for thinking that goes through numbers in order."""

import re
from itertools import pairwise

from rewards.extract import split_thinking
from rewards.types import Completion, Problem


def ordered_thinking(problem: Problem, completion: Completion, *, least: int = 2) -> float:
    """The share of neighbouring numbers in the thinking that stand in order; 0.0 for fewer than `least` numbers.

    Numbers that the problem does not have are passed over. A rule shapes the reward and says nothing of what is right.
    What stands behind the * are its options, which a recipe may set.
    """
    thinking, _ = split_thinking(completion)
    numbers = [int(number) for number in re.findall(r"[0-9]+", thinking) if int(number) in problem.answer]
    if len(numbers) < max(least, 2):
        return 0.0
    pairs = list(pairwise(numbers))
    return sum(first < second for first, second in pairs) / len(pairs)
