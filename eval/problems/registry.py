"""The problem sets that are built in, by name. None of them is imported before it is asked for problems."""

from collections.abc import Callable

from rewards.registry import Registry
from rewards.types import Problem

ProblemSet = Callable[[str, int | None, int], list[Problem]]
"""From split, n and seed to problems; see the package's docstring for what it promises."""

PROBLEMS: Registry[ProblemSet] = Registry(
    "problem set",
    {
        "word_problems": "eval.problems.words:word_problems",
        "programs": "eval.problems.programs:programs",
        "long_word_problems": "eval.problems.long:long_word_problems",
        "needle": "eval.problems.needle:needle",
        "countdown": "eval.problems.countdown:countdown",
        "little_countdown": "eval.problems.countdown:little_countdown",
        "gsm8k": "eval.problems.gsm8k:gsm8k",
        "math500": "eval.problems.math500:math500",
        "humaneval": "eval.problems.humaneval:humaneval",
        "mbpp": "eval.problems.mbpp:mbpp",
        "aime2024": "eval.problems.aime:aime2024",
        "aime2025": "eval.problems.aime:aime2025",
        "gpqa_diamond": "eval.problems.gpqa:gpqa_diamond",
        "decimals": "eval.problems.decimals:decimals",
    },
    entry_points="retort.problems",
)
