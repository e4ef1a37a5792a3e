"""Suites: problem sets that are measured together, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # options of the command line have several types


@dataclass(frozen=True)
class Suite:
    """Problem sets and the options of `retort eval` that go with them, where the user gives none."""

    problems: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)


SUITES: Mapping[str, Suite] = {
    # DeepSeek-R1 (arXiv 2501.12948), tables 4 and 5, as far as a rule can grade them: 64 rollouts at temperature 0.6
    # and top-p 0.95, up to 32,768 tokens; pass@1, and maj@64 (its cons@64). LiveCodeBench, Codeforces, SWE-bench and
    # what a model has to judge are left out.
    "r1": Suite(
        ("aime2024:test", "math500:test", "gpqa_diamond:test"),
        {"rollouts": 64, "temperature": 0.6, "top_p": 0.95, "max_tokens": 32768},
    ),
}
