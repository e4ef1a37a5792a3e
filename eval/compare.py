"""Is A better than B? A paired test by problem, the difference with its interval, and what it would take to tell."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from eval.metrics import Estimate, paired_difference, student_t
from eval.report import Row, by_problem
from rewards.types import Label

POWER = 0.8
DRAWS = 100_000
WIDEST = 200_000
"""Cells of the exact distribution; above it (denominators that share nothing) random signs are drawn instead."""
AT_ONCE = 2**22
"""Random signs that are held at once. Blocks are of a multiple of four of them, which is what the generator makes at a
time: the signs are those of one large draw."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A against B on the problems that both were asked and that could be graded for both.

    `a` and `b` are their pass@1 there. All else is of as many rollouts of a problem as both sides have, its first ones
    that could be graded; `uneven` counts the problems where one side has more. `difference` is that of A less that of
    B, with its 95% interval: a - b where no problem is uneven. `p` is two-sided. `a_better` and `b_better` count
    problems where one's rate of correct rollouts is higher; `to_a` and `to_b` those that flipped: one solves them more
    often than not, the other does not. `more` is how many more problems of this kind it would take to
    see a difference of this size, in `POWER` of all tries at the 5% level: 0 where these were enough, None where the
    two are level. `visible` is the smallest difference that these problems would show so often.
    """

    n: int
    a: float
    b: float
    uneven: int
    difference: Estimate
    p: float
    a_better: int
    b_better: int
    to_a: int
    to_b: int
    more: int | None
    visible: float

    @property
    def same(self) -> int:
        return self.n - self.a_better - self.b_better


def compare(rows_a: Iterable[Row], rows_b: Iterable[Row]) -> Comparison:
    """Compare two models' rollouts on one problem set. Raises ComparisonError where they share fewer than two
    problems."""
    right_a, right_b = _right(rows_a), _right(rows_b)
    shared = [problem for problem in right_a if problem in right_b]
    # One rollout against 64 of the same model is a difference that is small and negative mostly, and large and positive
    # seldom. Only between equal numbers could each have had the other sign as well, as the test takes it.
    both = {problem: min(len(right_a[problem]), len(right_b[problem])) for problem in shared}
    exact_a, exact_b = ({problem: _rate(side[problem][:count]) for problem, count in both.items()}
                        for side in (right_a, right_b))
    a, b = ({problem: float(rate) for problem, rate in side.items()} for side in (exact_a, exact_b))
    difference = widened(paired_difference(a, b))
    gaps = [exact_a[problem] - exact_b[problem] for problem in shared]
    p = sign_flip_test(gaps)
    # Where no problem differs there is no spread; 1 / sqrt(n) is what one problem of n that differs would give.
    spread = float(np.std([float(gap) for gap in gaps], ddof=1)) or 1 / math.sqrt(len(gaps))
    half = Fraction(1, 2)
    return Comparison(
        n=len(shared),
        a=math.fsum(float(_rate(right_a[problem])) for problem in shared) / len(shared),
        b=math.fsum(float(_rate(right_b[problem])) for problem in shared) / len(shared),
        uneven=sum(len(right_a[problem]) != len(right_b[problem]) for problem in shared),
        difference=difference,
        p=p,
        a_better=sum(gap > 0 for gap in gaps),
        b_better=sum(gap < 0 for gap in gaps),
        to_a=sum(exact_a[problem] > half >= exact_b[problem] for problem in shared),
        to_b=sum(exact_b[problem] > half >= exact_a[problem] for problem in shared),
        more=_more_problems(sum(gaps, Fraction(0)), spread, len(gaps), p),
        visible=_reach() * spread / math.sqrt(len(gaps)),
    )


def asked_otherwise(rows_a: Iterable[Row], rows_b: Iterable[Row]) -> dict[str, tuple[str, str]]:
    """What A and B were asked where a problem of both has two prompts under one id. An id may be a line of a file,
    which says nothing of the question once the file was edited. Rows without a prompt tell nothing here."""
    ours, theirs = ({problem: str(group[0]["prompt"]) for problem, group in by_problem(rows).items()
                     if "prompt" in group[0]} for rows in (rows_a, rows_b))
    return {problem: (prompt, theirs[problem]) for problem, prompt in ours.items()
            if problem in theirs and prompt != theirs[problem]}


def sign_flip_test(gaps: Sequence[Fraction], draws: int = DRAWS) -> float:
    """Two-sided p that paired differences are symmetric about 0: Fisher's randomisation test of their sum, as mid-p.

    If the two sides are samples of one model, each problem's difference could as well have had the other sign. The
    distribution of the sum over all signs is exact, by convolution on the differences' common denominator; where
    that is too fine, from `draws` random signs of a fixed seed. Half of the probability of the sum seen is left
    out (mid-p: Lancaster 1961; for one rollout a problem this is the mid-p McNemar test that Fagerland, Lydersen
    and Laake 2013 recommend), since the plain test, exact as it is, rejects far less than 5 times in 100 where few
    problems differ. Where no problem differs p is 1.
    """
    unit = math.lcm(*(gap.denominator for gap in gaps)) if gaps else 1
    steps = [abs(int(gap * unit)) for gap in gaps if gap]
    if not steps:
        return 1.0
    # In their largest common unit the steps give the narrowest distribution.
    divisor = math.gcd(*steps)
    seen = abs(int(sum(gaps) * unit)) // divisor
    steps = [step // divisor for step in steps]
    if 2 * sum(steps) + 1 <= WIDEST:
        return _exact(np.array(steps, dtype=np.int64), seen)
    # In units of their sum: many denominators have a common one that no float holds.
    whole = sum(steps)
    near = max(0.5 / whole, 1e-12)  # rounding, where the unit is finer than that
    beyond, at = 0, 0
    for sums in _drawn(np.array([step / whole for step in steps]), draws):
        beyond += int(np.sum(sums > seen / whole + near))
        at += int(np.sum(np.abs(sums - seen / whole) <= near))
    return (beyond + at / 2 + 1) / (draws + 1)  # the signs seen are one of the draws


def _drawn(steps: npt.NDArray[np.float64], draws: int) -> Iterator[npt.NDArray[np.float64]]:
    """|sum of steps| under `draws` random signs of each, in blocks."""
    rng = np.random.default_rng(0)
    block = max(4, AT_ONCE // len(steps) // 4 * 4)
    for first in range(0, draws, block):
        signs = rng.integers(0, 2, (min(block, draws - first), len(steps)), dtype=np.int8) * 2 - 1
        yield np.abs(signs @ steps)


def _exact(steps: npt.NDArray[np.int64], seen: int) -> float:
    """mid-p of |sum of signed steps| >= seen. chances[i] is P(sum = i - total) as far as steps were added."""
    total = int(steps.sum())
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    reach = 0
    # Each step is a convolution with two spikes, so that two shifted additions do it.
    for step in steps.tolist():
        low, high = total - reach, total + reach + 1
        spread = np.zeros(2 * (reach + step) + 1)
        spread[: high - low] += chances[low:high] / 2
        spread[2 * step :] += chances[low:high] / 2
        reach += step
        chances[total - reach : total + reach + 1] = spread
    if seen == 0:
        return 1.0
    beyond = float(chances[total + seen + 1 :].sum()) * 2
    return min(1.0, beyond + float(chances[total + seen]))


def widened(difference: Estimate) -> Estimate:
    """The interval, or where no problem differs (no spread to make one from) what n such problems allow: 97.5% of all
    samples would show a problem that differs if more than 1 - 0.025^(1/n) of them did."""
    if difference.high > difference.low:
        return difference
    most = 1 - 0.025 ** (1 / difference.n)
    return Estimate(difference.mean, max(-1.0, difference.mean - most), min(1.0, difference.mean + most), difference.n)


def _right(rows: Iterable[Row]) -> dict[str, list[bool]]:
    """Of every problem whether its gradable rollouts are correct, in their order; a problem without one is absent."""
    found: dict[str, list[bool]] = {}
    for problem, group in by_problem(rows).items():
        if right := [row["verdict"] == Label.CORRECT for row in group if row["verdict"] != Label.UNGRADABLE]:
            found[problem] = right
    return found


def _rate(right: Sequence[bool]) -> Fraction:
    return Fraction(sum(right), len(right))


def _more_problems(total: Fraction, spread: float, n: int, p: float) -> int | None:
    if p < 0.05:
        return 0
    mean = abs(float(total)) / n
    if mean == 0:
        return None
    return max(1, math.ceil((_reach() * spread / mean) ** 2) - n)


def _reach() -> float:
    """Standard errors between 0 and a difference that is seen in `POWER` of all tries: 1.96 + 0.84."""
    many = 100_000  # at so many degrees of freedom Student's t is the normal distribution
    return student_t(0.975, many) + student_t(POWER, many)
