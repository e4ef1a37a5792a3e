"""Counting: pass@k, maj@k, intervals clustered by problem, paired differences. Pure functions on numbers.

The unit of evidence is the problem. Sixteen rollouts of one problem agree with each other more than
rollouts of sixteen problems do, so every interval here is made from one value a problem; rollouts only
make that value sharper.
"""

import functools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from eval.errors import ComparisonError

Values = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval, and the number of problems that it rests on."""

    mean: float
    low: float
    high: float
    n: int


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that at least one of k rollouts is correct, estimated without bias from n of which `correct`
    are.

    1 - C(n-c, k) / C(n, k), the estimator of Chen et al. 2021 (arXiv 2107.03374, eq. 1), as a product that
    neither overflows nor cancels. Raises ValueError unless 0 <= correct <= n and 1 <= k <= n: with fewer than
    k rollouts no unbiased estimator exists.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"correct must lie in [0, n={n}], not {correct}")
    if not 1 <= k <= n:
        raise ValueError(f"k must lie in [1, n={n}], not {k}")
    if n - correct < k:
        return 1.0
    # The product of Chen et al. (2021), which does not overflow where binomials would.
    return 1.0 - math.prod(1.0 - k / i for i in range(n - correct + 1, n + 1))


def maj_at_k(answers: Sequence[Hashable | None], correct: Sequence[bool], k: int | None = None) -> float:
    """Chance that the majority answer of k rollouts is correct (cons@k), over draws of k of them without
    replacement.

    `answers` and `correct` hold one entry a rollout; equal answers are one candidate. None (no answer, or
    none that could be read) abstains: it takes a place in the draw and casts no vote. A tie is broken by a
    fair draw, so a tie of two of which one is correct counts one half. Where nobody votes the value is 0.
    Equal answers that were graded differently count with their mean. The value is the exact expectation, for
    k = n (the default) the vote of the whole set. Raises ValueError unless 1 <= k <= n.
    """
    n = len(answers)
    k = n if k is None else k
    if len(correct) != n:
        raise ValueError(f"{n} answers but {len(correct)} grades")
    if not 1 <= k <= n:
        raise ValueError(f"k must lie in [1, n={n}], not {k}")
    grades: dict[Hashable, list[bool]] = {}
    for answer, right in zip(answers, correct, strict=True):
        if answer is not None:
            grades.setdefault(answer, []).append(right)
    candidates = [(len(given), sum(given) / len(given)) for given in grades.values()]
    if not candidates:
        return 0.0
    if k == n:
        most = max(votes for votes, _ in candidates)
        # A tie is broken at random: the mean over those that lead.
        tied = [value for votes, value in candidates if votes == most]
        return sum(tied) / len(tied)
    return _expected_vote(tuple(candidates), n, k)


@functools.cache  # many problems of a set are alike: all right, or all but one
def _expected_vote(candidates: tuple[tuple[int, float], ...], n: int, k: int) -> float:
    abstain = n - sum(votes for votes, _ in candidates)
    return sum(_won_with(m, candidates, abstain, n, k) for m in range(1, k + 1)) / _chance(n, k, n, k)


def _chance(of: int, drawn: int, n: int, k: int) -> float:
    """Chance that `drawn` of `of` rollouts are drawn, where each is by itself with chance k / n.

    Draws of exactly k of n are those draws whose sum is k. The numbers of ways, which are counted otherwise, are too
    large for a float from a thousand rollouts on."""
    return float(math.comb(of, drawn) * k**drawn * (n - k) ** (of - drawn) / n**of)


def _won_with(m: int, candidates: Sequence[tuple[int, float]], abstain: int, n: int, k: int) -> float:
    """Sum of the winners' value over the draws of k in which the winner has exactly m votes, each by its chance.

    `ways[s, t]` is the chance of s votes of which t candidates have m and none has more; `worth[s, t]` sums the values
    of those t candidates over the same draws.
    """
    most_tied = k // m
    ways = np.zeros((k + 1, most_tied + 1))
    worth = np.zeros_like(ways)
    ways[0, 0] = 1.0
    for votes, value in candidates:
        new_ways, new_worth = np.zeros_like(ways), np.zeros_like(worth)
        for i in range(min(votes, m, k) + 1):
            choices = _chance(votes, i, n, k)
            # With m votes the candidate is among the winners, with fewer it is not; more belong to a larger m.
            if i < m:
                new_ways[i:] += choices * ways[: k + 1 - i]
                new_worth[i:] += choices * worth[: k + 1 - i]
            else:
                new_ways[i:, 1:] += choices * ways[: k + 1 - i, :-1]
                new_worth[i:, 1:] += choices * (worth + value * ways)[: k + 1 - i, :-1]
        ways, worth = new_ways, new_worth
    shared = worth[:, 1:] / np.arange(1, most_tied + 1)
    return sum(_chance(abstain, k - s, n, k) * float(shared[s].sum()) for s in range(max(0, k - abstain), k + 1))


def best_of_k(values: Sequence[float], correct: Sequence[bool], k: int) -> float:
    """Chance that the rollout with the highest value among k is correct, over draws of k without replacement; of
    several with that value a fair draw takes one.

    Raises ValueError unless 1 <= k <= len(values) and both lists are of one length.
    """
    n = len(values)
    if len(correct) != n or not 1 <= k <= n:
        raise ValueError(f"k must lie in [1, n={n}], not {k}, and {len(correct)} grades must be as many")
    expected, below = 0.0, 0
    for value in sorted(set(values)):
        group = [right for one, right in zip(values, correct, strict=True) if one == value]
        # Draws in which this is the highest value: all of those up to it, less all of those below it.
        highest = math.comb(below + len(group), k) - math.comb(below, k)
        expected += highest / math.comb(n, k) * sum(group) / len(group)
        below += len(group)
    return expected


def share(values: Values, weights: Values | None = None, level: float = 0.95) -> Estimate:
    """Mean over problems of values in [0, 1], with a score (Wilson) interval clustered by problem.

    `values[i]` is problem i's own mean (of correct rollouts, pass@k, ...) and `weights[i]` its weight, 1
    where not given; give the number of correct rollouts as weight to get a share OF CORRECT answers. The
    standard error is that of a ratio of sums over problems (linearised), the effective sample size is
    p(1-p)/se^2 (Korn and Graubard 1998; Dean and Pagano 2015), and Wilson's interval is taken at that size
    with Student's t at (problems - 1) degrees of freedom. Unlike mean ± 1.96 se it stays inside [0, 1] and
    has a width when every problem gave the same 0 or 1: the effective size is then the number of problems.
    Near 0 and 1, where a few problems carry all the spread there is, the variance is drawn towards that case,
    by one part in as many as there are such problems and one more (in simulation: coverage .92 to .99 where
    the plain formula had .84). One problem says nothing of another: its interval is [0, 1]. Raises ValueError
    on values outside [0, 1] and where no weight is positive.
    """
    x = np.asarray(values, dtype=np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    if x.shape != w.shape or x.ndim != 1:
        raise ValueError(f"values and weights must be two lists of one length, not {x.shape} and {w.shape}")
    x, w = x[w > 0], w[w > 0]
    if not x.size:
        raise ValueError("an estimate needs at least one problem with a positive weight")
    # A mean of thirds and the like may come out beyond 0 or 1 by a rounding.
    if not bool(np.all((x >= -1e-12) & (x <= 1 + 1e-12))):
        raise ValueError("the values of a share must lie in [0, 1]")
    n = int(x.size)
    p = min(1.0, max(0.0, float(np.average(x, weights=w))))
    if n == 1:
        return Estimate(p, 0.0, 1.0, 1)
    # The variance of the mean by the spread between problems: rollouts of one problem are not independent.
    seen = n / (n - 1) * float(np.sum((w * (x - p)) ** 2)) / float(w.sum()) ** 2
    one_answer_each = p * (1 - p) / n  # the variance if all rollouts of a problem always agreed
    # Where hardly any problem is solved, or missed, the spread that was seen is no guide: the bound weighs in.
    telling = int(min(np.count_nonzero(x > 0), np.count_nonzero(x < 1)))
    variance = (telling * seen + one_answer_each) / (telling + 1)
    # The effective sample size: so many independent answers would have this variance.
    size = p * (1 - p) / variance if variance > 1e-18 else float(n)
    t2 = student_t((1 + level) / 2, n - 1) ** 2 / size
    centre = (p + t2 / 2) / (1 + t2)
    reach = math.sqrt(t2 * p * (1 - p) + t2**2 / 4) / (1 + t2)
    # Wilson's interval holds p but for rounding.
    return Estimate(p, max(0.0, min(p, centre - reach)), min(1.0, max(p, centre + reach)), n)


def average(values: Values, level: float = 0.95) -> Estimate:
    """Mean over problems of lengths, of which none is below 0, with a t interval on the problems' own means.

    One problem says nothing of another: its interval is the value itself. Raises ValueError where there is none.
    """
    x = np.asarray(values, dtype=np.float64)
    if not x.size:
        raise ValueError("an estimate needs at least one problem")
    n, middle = int(x.size), float(x.mean())
    reach = student_t((1 + level) / 2, n - 1) * float(x.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    return Estimate(middle, max(0.0, middle - reach), middle + reach, n)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Plain mean of independent estimates (problem sets), each of the same weight, with its interval.

    Each side is recovered from the estimates' own sides (MOVER; Zou and Donner 2008): the distance to a limit
    is the root of the summed squared distances, over the count. Raises ValueError on an empty list.
    """
    if not estimates:
        raise ValueError("a mean needs at least one estimate")
    count = len(estimates)
    mean = sum(e.mean for e in estimates) / count
    below = math.sqrt(sum((e.mean - e.low) ** 2 for e in estimates)) / count
    above = math.sqrt(sum((e.high - e.mean) ** 2 for e in estimates)) / count
    return Estimate(mean, mean - below, mean + above, sum(e.n for e in estimates))


def paired_difference(a: Mapping[str, float], b: Mapping[str, float], level: float = 0.95) -> Estimate:
    """Mean of a - b over the problems that both hold, with a t interval on the per-problem differences.

    Keys are problem ids, values the problem's own mean, in [0, 1]. No difference lies beyond -1 and 1, so the interval
    ends there. Pairing removes the spread between easy and hard
    problems that both sides share. Raises ComparisonError where fewer than two problems are shared.
    """
    shared = [key for key in a if key in b]
    if len(shared) < 2:
        raise ComparisonError(f"a paired difference needs at least two problems in common, not {len(shared)}")
    d = np.array([a[key] - b[key] for key in shared])
    n, mean = len(shared), float(d.mean())
    reach = student_t((1 + level) / 2, n - 1) * float(d.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, max(-1.0, mean - reach), min(1.0, mean + reach), n)


@lru_cache(maxsize=1024)
def student_t(probability: float, df: int) -> float:
    """Quantile of Student's t for a probability in [0.5, 1) and df >= 1 whole degrees of freedom.

    Bisection on the closed form of the distribution (Abramowitz and Stegun 26.7.3 and 26.7.4).
    """
    if not 0.5 <= probability < 1 or df < 1:
        raise ValueError(f"student_t needs a probability in [0.5, 1) and df >= 1, not {probability} and {df}")
    low, high = 0.0, math.pi / 2
    # Bisection over the angle, which is bounded where t is not; 60 halvings are below a float's resolution.
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _two_sided(middle, df) < 2 * probability - 1 else (low, middle)
    return math.tan((low + high) / 2) * math.sqrt(df)


def _two_sided(theta: float, df: int) -> float:
    """P(|T| < t) for t = tan(theta) sqrt(df)."""
    cos2 = math.cos(theta) ** 2
    if df % 2 == 0:
        i = np.arange(1, df // 2)
        return math.sin(theta) * (1.0 + float(np.cumprod((2 * i - 1) / (2 * i) * cos2).sum()))
    i = np.arange(1, (df - 1) // 2)
    series = 1.0 + float(np.cumprod(2 * i / (2 * i + 1) * cos2).sum()) if df > 1 else 0.0
    return 2 / math.pi * (theta + math.sin(theta) * math.cos(theta) * series)
