"""What was made from what, laid out from left to right."""

import pytest

from pipeline.results.page.lineage import Edge, gain, placed


def measured(**scores: float | None) -> dict[str, dict[str, dict[str, float | None]]]:
    return {"problems": {name: {"pass@1": score} for name, score in scores.items()}}


def test_every_arrow_goes_to_the_right_and_no_two_boxes_share_a_place() -> None:
    edges = [Edge(*pair, None) for pair in (
        ("base", "zero"), ("zero", "traces"), ("base", "cold"), ("traces", "cold"), ("student_base", "student"),
        ("traces", "student"), ("base", "long"),
    )]
    places = placed(["base", "student_base", "zero", "traces", "cold", "long", "student"], edges)
    assert all(places[edge.source][0] < places[edge.target][0] for edge in edges)
    assert len(set(places.values())) == len(places)
    assert places["base"][0] == places["student_base"][0] == 0


def test_a_gain_is_over_what_both_were_measured_on() -> None:
    before, after = measured(sums=0.2, programs=0.4, needle=0.9), measured(sums=0.7, programs=0.5, other=0.1)
    assert gain(before, after) == pytest.approx((0.5 + 0.1) / 2)
    assert gain(before, measured(other=0.5)) is None
    assert gain(measured(sums=None), after) is None
    assert gain(None, after) is None
