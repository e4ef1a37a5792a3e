"""pass@k and maj@k against brute force, intervals against simulation."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics import Estimate, best_of_k, maj_at_k, mean_of, paired_difference, pass_at_k, share, student_t

ROLLOUTS = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c", "d"]), st.booleans()), min_size=1, max_size=7)


def test_pass_at_k_is_the_share_of_draws_with_a_correct_rollout():
    for n in range(1, 8):
        for correct, k in itertools.product(range(n + 1), range(1, n + 1)):
            draws = list(itertools.combinations([True] * correct + [False] * (n - correct), k))
            assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


@given(st.integers(1, 300), st.data())
def test_pass_at_k_rises_with_k_and_with_correct_rollouts(n, data):
    correct = data.draw(st.integers(0, n))
    values = [pass_at_k(n, correct, k) for k in range(1, n + 1)]
    assert values[0] == pytest.approx(correct / n)
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)
    assert values[-1] == (1.0 if correct else 0.0)
    if correct < n:
        assert pass_at_k(n, correct + 1, 1) > values[0]


def test_pass_at_k_is_stable_for_large_numbers():
    assert pass_at_k(10_000, 1, 5_000) == pytest.approx(0.5)
    assert 0 < pass_at_k(100_000, 1, 1) < 1.1e-5


def test_pass_at_k_is_unbiased_in_n():
    """The expectation over rollouts of a problem solved with chance p is 1 - (1-p)^k for every n."""
    p, k = 0.3, 3
    for n in (3, 5, 12):
        chances = [p**c * (1 - p) ** (n - c) * math.comb(n, c) for c in range(n + 1)]
        mean = sum(chance * pass_at_k(n, c, k) for c, chance in enumerate(chances))
        assert mean == pytest.approx(1 - (1 - p) ** k)


@pytest.mark.parametrize(("n", "correct", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_pass_at_k_refuses_what_has_no_unbiased_estimate(n, correct, k):
    with pytest.raises(ValueError, match="must lie in"):
        pass_at_k(n, correct, k)


def test_majority_ties_abstentions_and_silence():
    assert maj_at_k(["7", "7", "8"], [True, True, False]) == 1.0
    assert maj_at_k(["7", "8", "8"], [True, False, False]) == 0.0
    assert maj_at_k(["7", "8"], [True, False]) == 0.5
    assert maj_at_k(["7", "8", "9"], [True, False, False]) == pytest.approx(1 / 3)
    assert maj_at_k(["7", None, None, None], [True, False, False, False]) == 1.0
    assert maj_at_k([None, None], [False, False]) == 0.0
    assert maj_at_k(["7", "7"], [True, False]) == 0.5, "equal answers that were graded differently"
    with pytest.raises(ValueError, match="must lie in"):
        maj_at_k(["7"], [True], 2)
    with pytest.raises(ValueError, match="2 answers but 1 grades"):
        maj_at_k(["7", "8"], [True])


@given(ROLLOUTS, st.data())
def test_majority_of_k_is_the_mean_over_all_draws(rollouts, data):
    k = data.draw(st.integers(1, len(rollouts)))
    answers, _ = zip(*rollouts, strict=True)
    correct = [answer in ("a", "b") for answer in answers]
    draws = list(itertools.combinations(range(len(rollouts)), k))
    expected = statistics.fmean(maj_at_k([answers[i] for i in d], [correct[i] for i in d]) for d in draws)
    assert maj_at_k(answers, correct, k) == pytest.approx(expected, abs=1e-12)


ESTIMATORS = {
    "pass": lambda one, k: pass_at_k(len(one["correct"]), sum(one["correct"]), k),
    "maj": lambda one, k: maj_at_k(one["answers"], one["correct"], k),
    "best": lambda one, k: best_of_k(one["values"], one["correct"], k),
}


@pytest.mark.parametrize("name", ESTIMATORS)
@given(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.integers(0, 2)), min_size=2, max_size=6), st.data())
def test_fewer_rollouts_give_the_same_on_average(name, rollouts, data):
    """What k rollouts are worth, estimated from m of n, is on the mean over those m what all n give: no bias."""
    k = data.draw(st.integers(1, len(rollouts) - 1))
    m = data.draw(st.integers(k, len(rollouts) - 1))

    def estimate(some):
        answers, values = zip(*some, strict=True)
        correct = [answer == "a" for answer in answers]
        return ESTIMATORS[name]({"answers": answers, "correct": correct, "values": values}, k)

    fewer = [estimate(some) for some in itertools.combinations(rollouts, m)]
    assert statistics.fmean(fewer) == pytest.approx(estimate(rollouts), abs=1e-12)


def test_a_vote_over_thousands_of_rollouts():
    answers = ["a"] * 800 + ["b"] * 700 + [None] * 100
    right = [answer == "a" for answer in answers]
    # Two of 1,600: a vote is won by two alike or by one beside an abstention, and a tie is worth a half.
    pairs = 1600 * 1599 / 2
    by_hand = (800 * 799 / 2 + 800 * 100 + 800 * 700 / 2) / pairs
    assert maj_at_k(answers, right, 2) == pytest.approx(by_hand, rel=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_best_of_k_lies_between_any_rollout_and_an_oracle(correct, data):
    k = data.draw(st.integers(1, len(correct)))
    assert best_of_k([1.0] * len(correct), correct, k) == pytest.approx(sum(correct) / len(correct))
    assert best_of_k([float(right) for right in correct], correct, k) == pytest.approx(
        pass_at_k(len(correct), sum(correct), k))
    assert best_of_k([-float(right) for right in correct], correct, k) == pytest.approx(
        1 - pass_at_k(len(correct), len(correct) - sum(correct), k))


def test_majority_of_one_is_pass_at_one_and_grows_with_a_leading_answer():
    answers = ["right"] * 24 + ["wrong"] * 16 + ["other"] * 14 + [None] * 10
    correct = [answer == "right" for answer in answers]
    values = [maj_at_k(answers, correct, k) for k in (1, 4, 16, 64)]
    assert values[0] == pytest.approx(24 / 64)
    assert values == sorted(values)
    assert values[-1] == 1.0


@pytest.mark.parametrize(
    ("df", "quantile"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (10, 2.22814), (30, 2.04227), (199, 1.97196), (100_000, 1.95999)],
)
def test_student_t_against_published_quantiles(df, quantile):
    assert student_t(0.975, df) == pytest.approx(quantile, rel=1e-5)


def test_the_interval_of_a_share_is_wilsons_where_each_problem_has_one_rollout():
    """41 of 100; Wilson's interval with t(99) = 1.98422 in place of 1.96."""
    found = share([1.0] * 41 + [0.0] * 59)
    t2 = 1.98422**2
    centre, reach = (41 + t2 / 2) / (100 + t2), (t2 * 41 * 59 / 100 + t2**2 / 4) ** 0.5 / (100 + t2)
    assert found.mean == pytest.approx(0.41)
    assert (found.low, found.high) == pytest.approx((centre - reach, centre + reach), abs=5e-4)


@given(st.lists(st.integers(0, 16), min_size=2, max_size=60))
def test_an_interval_holds_its_mean_and_stays_in_range(correct):
    found = share([c / 16 for c in correct])
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.mean == pytest.approx(statistics.fmean(correct) / 16)
    assert found.high > found.low, "no interval without a width"
    mirrored = share([1 - c / 16 for c in correct])
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-9)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30), st.integers(2, 5))
def test_repeating_rollouts_of_the_same_problems_adds_no_certainty(correct, times):
    assert share([c / 4 for c in correct]) == share([(c * times) / (4 * times) for c in correct])


def test_edges_of_a_share():
    assert share([0.25]) == Estimate(0.25, 0.0, 1.0, 1)
    assert share([0.0] * 200).high == pytest.approx(0.019, abs=0.001), "3.8/n: two-sided rule of three"
    assert share([1.0] * 200).low == pytest.approx(0.981, abs=0.001)
    assert share([1.0, 0.0, 0.5], [2, 0, 2]).mean == 0.75
    with pytest.raises(ValueError, match="at least one problem"):
        share([0.5], [0.0])
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        share([0.5, 1.5])


SKEWED = [(0.02, 1.0), (0.1, 0.3), (0.1, 5.0), (0.5, 1.0), (0.9, 1.0)]


@pytest.mark.parametrize(
    ("mean", "concentration", "n", "rollouts"),
    [*((*one, 30, 4) for one in SKEWED), *((*one, 200, 16) for one in SKEWED), (0.5, 1e9, 100, 1), (0.5, 1.0, 100, 16),
     (0.3, 0.5, 100, 64), (0.3, 5.0, 200, 4), (0.8, 1.0, 500, 4), (0.8, 2.0, 200, 16)],
)
def test_intervals_cover_the_truth_93_to_97_times_of_100(mean, concentration, n, rollouts):
    """Difficulties from a beta distribution: rollouts of a problem agree. 2,000 experiments: within a point (two
    standard errors)."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(2000):
        chances = rng.beta(mean * concentration, (1 - mean) * concentration, n)
        found = share(rng.binomial(rollouts, chances) / rollouts)
        covered += found.low <= mean <= found.high
    most = 0.97 if n >= 100 else 0.98  # few problems: wider than it has to be
    assert 0.93 <= covered / 2000 <= most


def test_rollouts_taken_for_problems_would_not_cover():
    """What the clustering is for: every rollout counted as a problem of its own, the interval misses most of the
    time."""
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(300):
        correct = rng.binomial(16, rng.beta(0.5, 0.5, 50))
        found = share([1.0] * int(correct.sum()) + [0.0] * int(16 * 50 - correct.sum()))
        covered += found.low <= 0.5 <= found.high
    assert covered / 300 < 0.6


def test_weighted_shares_cover_the_truth():
    """Share of correct rollouts that are readable, where problems differ in both."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(500):
        readable = rng.beta(8, 2, 150)
        correct = rng.binomial(16, rng.beta(1, 1, 150)) + 1
        found = share(rng.binomial(correct, readable) / correct, correct)
        covered += found.low <= 0.8 <= found.high
    assert 0.92 <= covered / 500 <= 0.98


def test_the_mean_of_sets_covers_the_truth_and_is_narrower():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(500):
        one, two = (share(rng.binomial(16, rng.beta(*ab, 100)) / 16) for ab in ((1, 9), (9, 1)))
        both = mean_of([one, two])
        covered += both.low <= 0.5 <= both.high
        assert both.high - both.low < max(one.high - one.low, two.high - two.low)
    assert 0.92 <= covered / 500 <= 0.98
    with pytest.raises(ValueError, match="at least one"):
        mean_of([])


def test_a_paired_difference_finds_what_two_intervals_cannot_and_no_more():
    """Two equal models differ at the 5% level about 5 times in 100; pairing removes the problems' own spread."""
    rng = np.random.default_rng(3)
    false_alarms = seen = 0
    for _ in range(400):
        chances = rng.beta(0.5, 0.5, 80)
        a, b, better = (
            {str(i): c / 16 for i, c in enumerate(rng.binomial(16, np.clip(chances + more, 0, 1)))}
            for more in (0.0, 0.0, 0.06)
        )
        null, real = paired_difference(a, b), paired_difference(better, a)
        false_alarms += null.low > 0 or null.high < 0
        seen += real.low > 0
        assert share(list(better.values())).low < share(list(a.values())).high, "unpaired intervals overlap"
    assert 0.02 <= false_alarms / 400 <= 0.08
    assert seen / 400 > 0.8


def test_no_difference_goes_beyond_all_of_the_problems():
    found = paired_difference({"p": 1.0, "q": 1.0, "r": 0.6}, {"p": 0.0, "q": 0.0, "r": 0.0})
    assert (found.low, found.high) == (pytest.approx(0.293, abs=0.001), 1.0)


def test_a_paired_difference_uses_shared_problems_only():
    found = paired_difference({"p": 1.0, "q": 0.5, "r": 0.0}, {"q": 0.25, "p": 0.5, "s": 1.0})
    assert found.mean == pytest.approx(0.375)
    assert found.n == 2
    with pytest.raises(ValueError, match="at least two problems in common, not 1"):
        paired_difference({"p": 1.0, "q": 0.0}, {"q": 1.0, "s": 0.0})
