"""Paired comparison: brute force on small cases, false alarms and power in simulation, with the real reduction of
rows."""

import itertools
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import compare as comparing
from eval.compare import compare, sign_flip_test, widened
from eval.metrics import Estimate


def rows(correct, rollouts):
    """Rows of problems p0, p1, ... of which so many rollouts were correct."""
    return [
        {"problem": f"p{i}", "verdict": "correct" if j < c else "wrong"}
        for i, c in enumerate(correct) for j in range(rollouts)
    ]


def by_hand(gaps):
    """mid-p over all signs."""
    seen, sums = abs(sum(gaps)), [abs(sum(s * g for s, g in zip(signs, gaps, strict=True)))
                                  for signs in itertools.product((1, -1), repeat=len(gaps))]
    if not any(gaps) or seen == 0:
        return 1.0
    return sum(1.0 if total > seen else 0.5 if total == seen else 0.0 for total in sums) / len(sums)


@given(st.lists(st.builds(Fraction, st.integers(-15, 15), st.sampled_from([16, 15, 1])), min_size=1, max_size=8))
def test_the_sign_flip_test_agrees_with_all_signs(gaps):
    assert sign_flip_test(gaps) == pytest.approx(by_hand(gaps), abs=1e-12)


def test_one_rollout_a_problem_is_mcnemars_mid_p_test():
    """Fagerland et al. 2013, table 1 (bronchial hyperresponsiveness): 1 and 7 discordant pairs give mid-p 0.0391."""
    gaps = [Fraction(1)] + [Fraction(-1)] * 7 + [Fraction(0)] * 13
    assert sign_flip_test(gaps) == pytest.approx(0.0391, abs=5e-5)


def test_random_signs_where_the_exact_distribution_is_too_wide():
    rng = np.random.default_rng(0)
    coarse = [Fraction(int(v), 16) for v in rng.integers(-5, 9, 60)]
    fine = [gap + Fraction(int(rng.integers(-9, 9)), 10**7) for gap in coarse]
    assert sign_flip_test(fine) == pytest.approx(sign_flip_test(coarse), rel=0.15)
    assert sign_flip_test(fine) == sign_flip_test(fine)


def test_denominators_without_a_common_one_of_any_size_are_compared():
    primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79]
    assert sign_flip_test([Fraction(1, prime) for prime in primes]) < 1e-4
    mixed = [Fraction((-1) ** place, prime) for place, prime in enumerate(primes)]
    assert 0.1 < sign_flip_test(mixed) < 1


@pytest.mark.parametrize("at_once", [1, 1000, 10**9])
def test_random_signs_are_the_same_however_many_are_held_at_once(monkeypatch, at_once):
    rng = np.random.default_rng(1)
    gaps = [Fraction(int(rng.integers(-9, 10)), int(rng.integers(1, 17))) for _ in range(61)]
    expected = sign_flip_test(gaps, draws=1001)
    monkeypatch.setattr(comparing, "AT_ONCE", at_once)
    assert sign_flip_test(gaps, draws=1001) == expected == 0.3313373253493014


def test_many_problems_that_differ_take_little_memory():
    gaps = [Fraction(1 - place % 3, 13 + place % 7) for place in range(3000)]
    tracemalloc.start()
    try:
        sign_flip_test(gaps, draws=10_000)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


def test_a_small_comparison_by_hand():
    a, b = rows([4, 4, 4, 2, 0], 4), rows([4, 0, 1, 2, 2], 4)
    found = compare(a, b)
    assert (found.n, found.a, found.b) == (5, 0.7, 0.45)
    assert found.difference.mean == pytest.approx(0.25)
    assert (found.a_better, found.b_better, found.same) == (2, 1, 2)
    assert (found.to_a, found.to_b) == (2, 0)
    assert found.p == pytest.approx(by_hand([Fraction(4, 4), Fraction(3, 4), Fraction(-2, 4)]))
    other = compare(b, a)
    assert (other.to_a, other.to_b, other.p) == (0, 2, found.p)
    assert other.difference.mean == -found.difference.mean


def test_ungradable_rollouts_and_problems_of_one_side_alone_are_out():
    a = [*rows([2, 1], 2), {"problem": "p1", "verdict": "ungradable"}, {"problem": "q", "verdict": "correct"}]
    b = [*rows([1, 1], 2), {"problem": "r", "verdict": "correct"}]
    assert compare(a, b).difference.mean == 0.25
    with pytest.raises(ValueError, match="at least two problems in common"):
        compare(rows([1], 1), rows([1], 1))


def test_of_uneven_numbers_of_rollouts_the_first_of_both_are_compared():
    # p0 and p1 have one gradable rollout against four, of which the first is wrong and right.
    a = [{"problem": "p0", "verdict": "ungradable"}, *rows([1, 1], 1)]
    b = [{"problem": f"p{i}", "verdict": verdict} for i, verdicts in enumerate(
        (["wrong", "correct", "correct", "correct"], ["correct", "wrong", "wrong", "wrong"])
    ) for verdict in verdicts]
    found = compare(a, b)
    assert (found.a, found.b, found.difference.mean, found.uneven) == (1.0, 0.5, 0.5, 2)
    assert (found.a_better, found.same, found.to_a, found.to_b) == (1, 1, 1, 0)
    assert compare(b, a).difference.mean == -0.5
    assert compare(rows([1, 1], 1), rows([1, 0], 1)).uneven == 0


def test_where_no_problem_differs_the_interval_has_a_width_all_the_same():
    found = compare(rows([1] * 50, 1), rows([1] * 50, 1))
    assert found.p == 1.0
    assert found.difference.high == pytest.approx(1 - 0.025 ** (1 / 50))
    assert found.more is None
    assert widened(Estimate(0.1, 0.0, 0.2, 9)) == Estimate(0.1, 0.0, 0.2, 9)


@pytest.mark.parametrize(("n", "rollouts"), [(40, 8), (120, 1), (30, 4)])
def test_two_samples_of_one_model_differ_five_times_in_100(n, rollouts):
    """800 pairs of evaluations: one standard error is 0.77 points."""
    rng = np.random.default_rng(n)
    alarms = 0
    for _ in range(800):
        chances = rng.beta(0.6, 0.6, n)
        a, b = (rows(rng.binomial(rollouts, chances), rollouts) for _ in range(2))
        alarms += compare(a, b).p < 0.05
    assert 0.03 <= alarms / 800 <= 0.07


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 4), (4, 0.3)])
def test_one_rollout_against_many_of_one_model_differs_no_more_often(alpha, beta):
    """Of a hard set or an easy one, where the many have a score that the one cannot have."""
    rng = np.random.default_rng(7)
    alarms, misses = 0, 0
    for _ in range(200):
        chances = rng.beta(alpha, beta, 30)
        many = [{"problem": f"p{i}", "verdict": "correct" if right else "wrong"}
                for i, chance in enumerate(chances) for right in rng.random(16) < chance]
        found = compare(rows(rng.binomial(1, chances), 1), many)
        alarms += found.p < 0.05
        misses += not found.difference.low <= 0 <= found.difference.high
    assert alarms / 200 <= 0.07
    assert misses / 200 <= 0.07


def test_as_many_more_problems_as_it_says_do_tell():
    """The number is worked out from one inconclusive comparison's own size; with so many problems, 80% of tries
    tell."""
    rng = np.random.default_rng(5)

    def pair(n):
        chances = rng.beta(1, 1, n)
        return rows(rng.binomial(4, np.clip(chances + 0.05, 0, 1)), 4), rows(rng.binomial(4, chances), 4)

    large = compare(*pair(5_000))
    spread = large.visible * math.sqrt(large.n) / 2.8016
    needed = round((2.8016 * spread / (0.05 - 0.05**2 / 2)) ** 2)  # the true difference, some chances being 1 already
    assert sum(compare(*pair(needed)).p < 0.05 for _ in range(150)) / 150 == pytest.approx(0.8, abs=0.1)
    small = next(
        found for found in (compare(*pair(50)) for _ in range(50)) if found.p >= 0.05 and found.difference.mean > 0.03
    )
    assert small.more is not None
    assert small.n + small.more == math.ceil((small.visible / small.difference.mean) ** 2 * small.n)


def test_a_difference_that_is_real_is_certain():
    rng = np.random.default_rng(6)
    zero, base = rows(rng.binomial(16, 0.6, 200), 16), rows(rng.binomial(16, 0.1, 200), 16)
    found = compare(zero, base)
    assert found.p < 1e-12
    assert found.difference.low > 0.45
    assert found.more == 0
