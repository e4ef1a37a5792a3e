"""The problem sets that are built in, by name. None of them is imported before it is asked for problems."""

from collections.abc import Callable, Mapping

from rewards.registry import Registry
from rewards.types import Problem

ProblemSet = Callable[[str, int | None, int], list[Problem]]
"""From split, n and seed to problems; see the package's docstring for what it promises."""

HOLDS: Mapping[str, Mapping[str, int]] = {
    "word_problems": {"train": 30_000, "test": 3_500},
    "programs": {"train": 28_000, "test": 3_200},
    "long_word_problems": {"train": 30_000, "test": 3_500},
    "needle": {"train": 100_000, "test": 100_000},
    "needle_32k": {"train": 100_000, "test": 100_000},
    "needle_128k": {"train": 100_000, "test": 100_000},
    "countdown": {"train": 30_000, "test": 3_000},
    "little_countdown": {"train": 9_000, "test": 1_000},
    "decimals": {"train": 150_000, "test": 15_000},
    "products": {"train": 200_000, "test": 50_000},
    "gsm8k": {"train": 7_473, "test": 1_319},
    "math": {"train": 12_000},
    "math500": {"test": 500},
    "humaneval": {"test": 164},
    "mbpp": {"prompt": 10, "test": 500, "validation": 90, "train": 374},
    "aime2024": {"test": 30},
    "aime2025": {"test": 30},
    "gpqa_diamond": {"test": 198},
}
"""The splits of every built-in set, and how many problems can be had of each: of published sets as many as they have,
of made ones somewhat fewer than there are different ones, since the last of them hardly ever come up."""

PUBLISHED = frozenset({"gsm8k", "math", "math500", "humaneval", "mbpp", "aime2024", "aime2025", "gpqa_diamond"})
"""Those that are read from the data folder or the hub."""

PROBLEMS: Registry[ProblemSet] = Registry(
    "problem set",
    {
        "word_problems": "eval.problems.words:word_problems",
        "programs": "eval.problems.programs:programs",
        "long_word_problems": "eval.problems.long:long_word_problems",
        "needle": "eval.problems.needle:needle",
        "needle_32k": "eval.problems.needle:needle_32k",
        "needle_128k": "eval.problems.needle:needle_128k",
        "countdown": "eval.problems.countdown:countdown",
        "little_countdown": "eval.problems.countdown:little_countdown",
        "gsm8k": "eval.problems.gsm8k:gsm8k",
        "math": "eval.problems.competition_math:math",
        "math500": "eval.problems.competition_math:math500",
        "humaneval": "eval.problems.humaneval:humaneval",
        "mbpp": "eval.problems.mbpp:mbpp",
        "aime2024": "eval.problems.aime:aime2024",
        "aime2025": "eval.problems.aime:aime2025",
        "gpqa_diamond": "eval.problems.gpqa:gpqa_diamond",
        "decimals": "eval.problems.decimals:decimals",
        "products": "eval.problems.products:products",
    },
    entry_points="retort.problems",
)
