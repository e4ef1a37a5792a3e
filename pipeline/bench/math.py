"""How many answers a second `grade` judges on one core, and beside it math-verify in the same process."""

import logging
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from eval.errors import ProblemSetError
from eval.problems import load
from rewards import math
from rewards.grade import grade
from rewards.lazy import lazy
from rewards.types import Completion, Problem

with lazy:
    from math_verify import parse, verify


ROUNDS = 7
SETS = ("gsm8k:test", "math500:test")
ANSWERS = 300
"""Problems of each set; each is put to its own answer and to its neighbour's."""


@dataclass(frozen=True)
class Comparison:
    """Answers a second of both graders, in rounds that took turns, and how often their verdicts differ."""

    ours: list[float]
    theirs: list[float]
    answers: int
    differ: int

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def __str__(self) -> str:
        ratios = self.ratios
        return (
            f"{statistics.median(self.ours):9.0f} a second, math-verify {statistics.median(self.theirs):6.0f}: "
            f"{statistics.median(ratios):.1f} times as fast (rounds: {min(ratios):.1f} to {max(ratios):.1f})"
        )


def compare(reference: str) -> Comparison:
    """Both graders on the answers of a problem set. Raises ProblemSetError where its file is not to be had.

    Nothing is remembered from one round to the next. math-verify runs without its timeouts, which is its fastest, and
    is given the gold in a box, as it asks for.
    """
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns that its timeouts are off
    problems = load(reference)[:ANSWERS]
    golds = [str(problem.answer) for problem in problems]
    pairs = [*zip(golds, golds, strict=True), *zip(golds, golds[1:] + golds[:1], strict=True)]

    def ours(gold: str, text: str) -> bool:
        return grade(Problem("", "", gold, "math", ""), Completion(text)).correct

    def theirs(gold: str, text: str) -> bool:
        wanted = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
        return bool(verify(wanted, parse(text, parsing_timeout=None), timeout_seconds=None))

    texts = [(gold, f"So the answer is \\boxed{{{answer}}}.") for gold, answer in pairs]
    verdicts = [[grader(*pair) for pair in texts] for grader in (ours, theirs)]  # the warm-up
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for grader, found in zip((ours, theirs), rates, strict=True):
            math.forget_readings()
            found.append(len(texts) / _seconds(lambda grader=grader: [grader(*pair) for pair in texts]))  # type: ignore[misc]
    return Comparison(*rates, len(texts), sum(a != b for a, b in zip(*verdicts, strict=True)))


def compare_all() -> dict[str, Comparison | str]:
    """Every set's comparison, or why there is none."""
    found: dict[str, Comparison | str] = {}
    for reference in SETS:
        try:
            found[reference] = compare(reference)
        except ProblemSetError as error:
            found[reference] = f"not measured: {error}"
    return found


def import_seconds() -> list[float]:
    """Seconds of a processor that `import rewards` adds to a bare interpreter's start, in several fresh ones."""
    return [_cost("import rewards") - _cost("pass") for _ in range(ROUNDS)]


def _cost(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
