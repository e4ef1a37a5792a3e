"""Choosing among k rollouts, against brute force."""

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report import reduce
from eval.scaling import best_of_k, curve, efforts, efforts_table, lines


def row(problem, verdict, extracted="7", tokens=10, **more):
    return {
        "problem": problem, "verdict": verdict, "extracted": extracted, "tokens": tokens, "format": True,
        "readable": True, **more
    }


def by_hand(values, correct, k):
    def one(draw):
        best = max(values[i] for i in draw)
        return statistics.fmean(correct[i] for i in draw if values[i] == best)

    return statistics.fmean(one(draw) for draw in itertools.combinations(range(len(values)), k))


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7), st.data())
def test_best_of_k_is_the_mean_over_all_draws(rollouts, data):
    values, correct = zip(*rollouts, strict=True)
    k = data.draw(st.integers(1, len(rollouts)))
    assert best_of_k(values, correct, k) == pytest.approx(by_hand(values, correct, k), abs=1e-12)


def test_a_curve_by_hand():
    rows = [row("p", "correct", "7", 10, best_by=1.0), row("p", "wrong", "8", 20, best_by=0.0),
            row("p", "correct", "7", 30, best_by=0.5),
            *[row("q", "wrong", str(i), 40, best_by=float(i)) for i in range(3)]]
    points = curve(rows)
    assert [point["k"] for point in points] == [1, 2, 3]
    assert [point["tokens"] for point in points] == [30, 60, 90]
    assert [point["best"] for point in points] == pytest.approx([1 / 3, 0.5, 0.5], abs=1e-6)
    assert [point["vote"] for point in points] == pytest.approx([1 / 3, (1 + 2 * 0.5) / 6, 0.5], abs=1e-6)
    assert [point["rule"] for point in points] == pytest.approx([1 / 3, 0.5, 0.5], abs=1e-6)
    assert points[0]["vote_ci95"][0] < points[0]["vote"] < points[0]["vote_ci95"][1]


def test_a_curve_begins_at_pass_at_1_and_ends_at_maj_and_pass_at_n():
    rows = [row(f"p{i}", "correct" if (i * j) % 3 else "wrong", str(j % 2)) for i in range(9) for j in range(8)]
    numbers, points = reduce(rows), curve(rows)
    assert points[0]["vote"] == points[0]["best"] == numbers["pass@1"]
    assert (points[-1]["vote"], points[-1]["best"]) == (numbers["maj@8"], numbers["pass@8"])
    assert [point["best"] for point in points] == sorted(point["best"] for point in points)
    assert "rule" not in points[0]


def test_what_cannot_be_graded_is_no_point():
    assert curve([row("p", "ungradable"), row("p", "ungradable")]) == []


def test_a_curve_as_text():
    text = lines("sums", curve([row("p", "correct", tokens=60), row("p", "wrong", tokens=64)]))
    assert text[0] == "sums: accuracy against tokens"
    assert text[1].split() == ["k", "tokens", "vote", "best"]
    assert text[2].split()[:3] == ["1", "62", "50.0"]
    assert text[3].split()[:2] == ["2", "124"]


def test_efforts_with_their_thinking_by_hand():
    def rows(thinking: int, verdict: str):
        return [{**row(name, verdict, tokens=thinking + 2), "thinking": thinking + more}
                for name, more in (("p", 0), ("q", 2))]

    asked = {("high", 9): rows(8, "wrong"), ("low", None): rows(2, "correct"), ("high", None): rows(8, "correct"),
             (None, None): [row("p", "correct", tokens=9)]}
    found = efforts({way: reduce(numbers) for way, numbers in asked.items()})
    assert [(point["effort"], point["budget"]) for point in found] == [
        (None, None), ("low", None), ("high", 9), ("high", None)
    ]
    # Two problems with means of 2 and 4: t is 12.706 for one degree of freedom, and the standard error 1. No length is
    # below 0.
    assert found[1]["thinking"] == 3
    assert found[1]["thinking_ci95"] == pytest.approx([0, 3 + 12.7062], abs=1e-3)
    assert "thinking" not in found[0], "nobody has counted"
    told = efforts_table({"zero": {"sums": found}}).splitlines()
    assert told[0].split() == ["model", "problems", "effort", "budget", "thinking", "tokens", "pass@1"]
    assert told[3].split()[:5] == ["zero", "sums", "high", "9", "9.0"]
