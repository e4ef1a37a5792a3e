"""What was made from what, laid out from left to right."""

from itertools import pairwise

import pytest

from pipeline.results.page.lineage import WIDTH, Edge, gain, laid_out


def measured(**scores: float | None) -> dict[str, dict[str, dict[str, float | None]]]:
    return {"problems": {name: {"pass@1": score} for name, score in scores.items()}}


def test_every_line_goes_to_the_right_and_around_the_boxes() -> None:
    edges = [Edge(*pair, None) for pair in (
        ("base", "zero"), ("zero", "traces"), ("base", "cold"), ("traces", "cold"), ("student_base", "student"),
        ("cold", "more"), ("more", "student"), ("base", "long"), ("base", "student"),
    )]
    places, ways = laid_out(["base", "student_base", "zero", "traces", "cold", "long", "more", "student"], edges)
    assert len(set(places.values())) == len(places)
    assert places["base"][0] == places["student_base"][0] == 0
    for edge, way in zip(edges, ways, strict=True):
        assert way[0] == (places[edge.source][0] + WIDTH / 2, places[edge.source][1])
        assert way[-1] == (places[edge.target][0] - WIDTH / 2, places[edge.target][1])
        assert all(x < x2 for (x, _), (x2, _) in pairwise(way))
        for (x, y), (x2, y2) in pairwise(way):
            # A line within a column is level, and at the height of no box.
            if round(x) == round(x2):
                assert y == y2
                assert (round(x), y) not in places.values()


def test_a_gain_is_over_what_both_were_measured_on() -> None:
    before, after = measured(sums=0.2, programs=0.4, needle=0.9), measured(sums=0.7, programs=0.5, other=0.1)
    assert gain(before, after) == pytest.approx((0.5 + 0.1) / 2)
    assert gain(before, measured(other=0.5)) is None
    assert gain(measured(sums=None), after) is None
    assert gain(None, after) is None
