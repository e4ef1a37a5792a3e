"""Rows to numbers: denominators, votes, shares."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report import by_meta, difference, mean_of_sets, rates, reduce, vote_of


def row(problem, verdict="correct", extracted="7", **more):
    return {
        "problem": problem, "family": "sums", "index": 0, "text": "", "finished": True, "tokens": 10,
        "verdict": verdict, "extracted": extracted, "reason": "", "format": True, "readable": True, **more,
    }


def test_every_number_of_a_small_report():
    rows = [
        row("p", "correct", "7", tokens=4),
        row("p", "correct", "7.0", readable=False),
        row("p", "wrong", "8", format=False),
        row("p", "wrong", "9", tokens=6),
        row("q", "wrong", "1", readable=False),
        row("q", "no_answer", None, format=False),
        row("q", "truncated", None, format=False, tokens=40, finished=False),
        row("q", "ungradable", "2", finished=False),
    ]
    numbers = reduce(rows)
    low, high = numbers.pop("pass@1_ci95")
    assert 0 <= low < 0.25 < high <= 1
    assert numbers.pop("readable_of_correct_ci95") == [0.0, 1.0]
    for key in ("pass@4", "maj@4"):
        low, high = numbers.pop(f"{key}_ci95")
        assert 0 <= low <= 0.5 <= high <= 1
    assert numbers == {
        "n": 2, "rollouts": 4, "pass@1": 0.25, "pass@4": 0.5, "maj@4": 0.5, "format": 0.625, "readable": 0.75,
        "readable_of_correct": 0.5, "mean_length": 12.5, "tokens_per_correct": 55.0, "no_answer": 0.125,
        "truncated": 0.125, "unfinished": 0.25, "ungradable": 0.125, "left_out": 0,
    }


def test_the_best_of_several_by_hand():
    """Of p the value chooses a wrong one, of q a right one of two that are equal; of r the best cannot be graded."""
    rows = [
        *(row("p", verdict, "7", best_by=value) for verdict, value in (("correct", -2.0), ("wrong", -1.0))),
        *(row("q", verdict, "7", best_by=value) for verdict, value in (("correct", 3.0), ("wrong", 3.0))),
        *(row("r", verdict, "7", best_by=value) for verdict, value in (("ungradable", 9.0), ("correct", 1.0))),
        *(row("s", verdict, "7", best_by=value) for verdict, value in (("correct", 0.5), ("correct", 0.4))),
    ]
    numbers = reduce(rows)
    assert numbers["best@2"] == (0 + 0.5 + 1 + 1) / 4
    assert numbers["best@2_ci95"][0] < 0.625 < numbers["best@2_ci95"][1]
    assert "best@2" not in reduce([{**one, "best_by": 1.0} if place else one for place, one in enumerate(
        [{key: value for key, value in one.items() if key != "best_by"} for one in rows])])
    mean = mean_of_sets({"one": numbers, "other": {**numbers, "best@2": 0.125}})
    assert mean is not None
    assert mean["best@2"] == 0.375


def test_an_answer_that_the_budget_ended_is_unfinished_and_not_truncated():
    numbers = reduce([row("p", "wrong", "8", finished=False), row("q", "correct", "7")])
    assert (numbers["unfinished"], numbers["truncated"]) == (0.5, 0.0)
    unknown = row("p")
    del unknown["finished"]
    assert reduce([unknown, row("q")])["unfinished"] is None


def test_ungradable_rollouts_leave_the_denominator():
    numbers = reduce([row("p"), row("p", "ungradable"), row("q"), row("q", "wrong", "8")])
    assert numbers["pass@1"] == 0.75
    assert numbers["ungradable"] == 0.25


def test_a_problem_that_nobody_could_grade_is_left_out_of_the_scores():
    numbers = reduce([row("p"), row("q", "ungradable")])
    assert (numbers["n"], numbers["left_out"], numbers["pass@1"]) == (2, 1, 1.0)
    nothing = reduce([row("p", "ungradable"), row("p", "ungradable")])
    assert nothing["pass@1"] is None
    assert nothing["pass@1_ci95"] is None
    assert nothing["pass@2"] is None
    assert nothing["maj@2_ci95"] is None
    assert nothing["tokens_per_correct"] is None
    assert nothing["readable_of_correct"] is None


def test_the_lenient_reading_is_a_number_of_its_own_where_the_rows_have_it():
    rows = [
        {**row("p"), "flexible": "correct"}, {**row("p", "wrong"), "flexible": "correct"},
        {**row("q", "no_answer", None), "flexible": "no_answer"}, {**row("q", "wrong"), "flexible": "correct"},
    ]  # fmt: skip
    numbers = reduce(rows)
    assert (numbers["pass@1"], numbers["flexible"]) == (0.25, 0.75)
    assert numbers["flexible_ci95"][0] < 0.75 < numbers["flexible_ci95"][1]
    assert "flexible" not in reduce([*rows, row("r")])
    assert reduce([{**row("p", "ungradable"), "flexible": "ungradable"}])["flexible"] is None


def test_no_rollouts_are_no_report():
    with pytest.raises(ValueError, match="no rollouts"):
        reduce([])


def test_one_rollout_a_problem_has_neither_pass_at_k_nor_a_vote():
    numbers = reduce([row("p"), row("q")])
    assert [key for key in numbers if "@" in key] == ["pass@1", "pass@1_ci95"]


def test_readable_of_correct_counts_rollouts_not_problems():
    rows = [row("p"), row("p"), row("p"), row("q", readable=False), row("q", "wrong"), row("q", "wrong")]
    assert reduce(rows)["readable_of_correct"] == 0.75


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=4), min_size=1, max_size=8), st.integers(2, 4))
def test_the_score_does_not_move_with_the_number_of_rollouts(problems, times):
    once = [row(f"p{i}", "correct" if right else "wrong") for i, found in enumerate(problems) for right in found]
    assert reduce(once * times)["pass@1"] == reduce(once)["pass@1"]
    assert reduce(once * times)["pass@1_ci95"] == reduce(once)["pass@1_ci95"]
    shuffled = sorted(once, key=lambda r: r["verdict"])
    assert reduce(shuffled) == reduce(once), "order does not matter"


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=4), st.sampled_from(["wrong", "truncated", "no_answer"]),
    st.integers(1, 5),
)
def test_the_expected_score_is_the_same_for_every_number_of_rollouts(chances, failing, n):
    """The exact expectation over all outcomes of n rollouts of a problem, the other problems at their mean."""
    expected = 0.0
    for p in chances:
        for correct in range(n + 1):
            rows = [row("p", "correct" if i < correct else failing) for i in range(n)]
            outcome = math.comb(n, correct) * p**correct * (1 - p) ** (n - correct)
            expected += outcome * reduce(rows)["pass@1"] / len(chances)
    assert expected == pytest.approx(sum(chances) / len(chances), abs=1e-5)


def test_problems_weigh_alike_however_many_rollouts_each_has():
    """An evaluation that was stopped in the middle leaves some problems with more rollouts than others."""
    rows = [row("p") for _ in range(9)] + [row("q", "wrong"), row("q", "wrong")]
    assert reduce(rows)["pass@1"] == 0.5
    assert reduce(rows)["rollouts"] == 2


def test_tokens_per_correct_answer_count_the_wrong_ones_too():
    rows = [row("p", tokens=10), row("p", "wrong", tokens=30), row("q", tokens=20), row("q", tokens=20)]
    assert reduce(rows)["tokens_per_correct"] == pytest.approx((20 + 20) / (0.5 + 1), abs=1e-6)
    assert reduce(rows)["mean_length"] == 20


def test_votes_are_by_value_for_plain_numbers_and_know_nothing_of_the_truth():
    same = [row("p", extracted=text) for text in ("1000", "1,000", "1000.0", " 1000 ", "2000/2")]
    assert {vote_of(r) for r in same} == {Fraction(1000)}
    assert vote_of(row("p", extracted="x +  1")) == "x + 1"
    assert vote_of(row("p", extracted="9" * 5000)) == "9" * 5000
    assert vote_of(row("p", "no_answer", "prose")) is None
    assert vote_of(row("p", "wrong", None)) is None
    for odd in ("", ".", "1,00", "1e5", "5/0", "٣", "½"):
        assert vote_of(row("p", extracted=odd)) == odd
    # Four spellings of right lose to three equal wrong ones, as they would without a gold answer at hand.
    spelt = [row("p", extracted=f"\\frac{{14}}{{{d}}}") for d in (2, 3, 4)]
    assert reduce([*spelt, *[row("p", "wrong", "8")] * 2])["maj@5"] == 0.0


def test_differences_are_paired_by_problem():
    a = [row("p"), row("q"), row("r", "wrong")]
    b = [row("r", "wrong"), row("q", "wrong"), row("p")]
    assert difference(a, b).mean == pytest.approx(1 / 3)
    assert rates([row("p"), row("p", "wrong"), row("q", "ungradable")]) == {"p": 0.5}


def test_the_mean_of_sets_weighs_sets_alike_and_keeps_only_what_they_share():
    one = reduce([row(f"p{i}", v) for i in range(10) for v in ("correct", "wrong")])
    two = reduce([row(f"q{i}") for i in range(40) for _ in range(2)])
    mean = mean_of_sets({"one": one, "two": two})
    assert mean is not None
    assert (mean["sets"], mean["pass@1"], mean["pass@2"]) == (["one", "two"], 0.75, 1.0)
    assert "pass@2" not in (mean_of_sets({"one": one, "three": reduce([row("r")])}) or {})
    assert mean_of_sets({"one": one, "none": reduce([row("r", "ungradable")])}) is None


def test_rates_by_what_the_problems_tell() -> None:
    rows = [
        {"problem": f"p{length}{depth}", "verdict": "correct" if length == 64 or depth == 0.0 else "wrong",
         "meta": {"length": length, "depth": depth, "name": "Tom", "same": 1}}
        for length in (64, 128) for depth in (0.0, 1.0)
    ]
    found = by_meta(rows)
    assert found["length"] == {"64": 1.0, "128": 0.5}
    assert found["depth"] == {"0.0": 1.0, "1.0": 0.5}
    assert found["length depth"] == {"64 0.0": 1.0, "64 1.0": 1.0, "128 0.0": 1.0, "128 1.0": 0.0}
    assert set(found) == {"length", "depth", "length depth"}


def test_what_is_no_number_in_meta_makes_no_cell() -> None:
    told = [{"level": 1, "depth": 2}, {"level": None, "depth": 2}, {"level": "3", "depth": 3}, {"level": 2}]
    rows = [{"problem": str(n), "verdict": "correct", "meta": meta} for n, meta in enumerate(told)]
    assert by_meta(rows) == {
        "level": {"1": 1.0, "2": 1.0}, "depth": {"2": 1.0, "3": 1.0}, "level depth": {"1 2": 1.0},
    }


def test_equal_numbers_of_meta_are_one_cell() -> None:
    told = [{"depth": 0}, {"depth": 0.5}, {"depth": 0.0}, {"depth": 1}, {"depth": 1.0}]
    rows = [{"problem": str(n), "verdict": "correct" if n < 2 else "wrong", "meta": meta}
            for n, meta in enumerate(told)]
    assert by_meta(rows) == {"depth": {"0": 0.5, "0.5": 1.0, "1": 0.0}}


def test_no_thinking_is_shorter_than_nothing():
    numbers = reduce([row(str(n), thinking=length) for n, length in enumerate([0, 0, 0, 18])])
    assert numbers["thinking"] == 4.5
    assert numbers["thinking_ci95"] == [0.0, 18.821008]
