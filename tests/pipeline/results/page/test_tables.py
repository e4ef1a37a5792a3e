"""Metrics as columns: nothing is lost of a short stage, and a long one is bounded with its extremes kept."""

import math

from hypothesis import given
from hypothesis import strategies as st

from pipeline.results.page.tables import LOADED_POINTS, MOST_POINTS, curves, loads


def test_a_short_stage_has_every_row() -> None:
    rows = [{"step": 1, "loss": 2.0, "moe/load": {"0": [1.0]}}, {"step": 2, "loss": None, "reward": 0.5},
            {"model": "base", "pass@1": 0.5}, {"step": 3, "loss": True, "note": "x"}]
    assert curves(rows) == {"step": [1, 2, 3], "value": {"loss": [2.0, None, None], "reward": [None, 0.5, None]},
                            "least": {}, "most": {}}


def test_a_stage_that_logs_nothing_has_no_columns() -> None:
    assert curves([]) is None
    assert curves([{"step": 1}, {"loss": 2.0}]) is None
    assert curves([{"step": 1, "loss": 10**400}]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=MOST_POINTS + 1, max_size=5 * MOST_POINTS))
def test_a_long_stage_is_bounded_and_keeps_its_extremes(values: list[float]) -> None:
    table = curves([{"step": step, "loss": value} for step, value in enumerate(values)])
    assert table is not None
    columns = [table["step"], *(table[kind]["loss"] for kind in ("value", "least", "most"))]
    assert {len(column) for column in columns} == {MOST_POINTS}
    assert table["step"][0] == 0
    least, most = ([value for value in table[end]["loss"] if value is not None] for end in ("least", "most"))
    assert math.isclose(min(least), min(values), rel_tol=1e-3)
    assert math.isclose(max(most), max(values), rel_tol=1e-3)
    assert all(low <= mean <= high for low, mean, high in
               zip(columns[2], columns[1], columns[3], strict=True))


def test_the_load_of_experts() -> None:
    rows = [{"step": step, "moe/load": {"1": [0.5, 1.5], "2": [1.0, 1.0]}} for step in range(200)]
    cells = loads(rows)
    assert len(cells) == LOADED_POINTS * 4
    assert cells[-4:] == [{"step": 199, "expert": name, "load": load}
                          for name, load in {"1.0": 0.5, "1.1": 1.5, "2.0": 1.0, "2.1": 1.0}.items()]


def test_of_very_many_experts_each_layers_busiest_one() -> None:
    cells = loads([{"step": 1, "moe/load": {str(layer): [1.0] * 127 + [2.0] for layer in range(48)}}])
    assert len(cells) == 48
    assert cells[0] == {"step": 1, "expert": "0", "load": 2.0}


def test_a_load_that_is_none_is_left_out() -> None:
    assert loads([{"step": 1, "moe/load": wrong} for wrong in ({}, [], {"1": []}, {"1": "x"}, {"1": [None]})]) == []
