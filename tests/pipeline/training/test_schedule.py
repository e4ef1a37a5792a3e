"""Rates over a stage: up, down by a cosine, and up to half again where a further round is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.schedule import Schedule


def test_the_shape() -> None:
    schedule = Schedule(steps=100, warmup=10)
    factors = [schedule(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1, rel=0.01)
    assert max(factors) == pytest.approx(1.0, abs=0.05)
    assert factors.index(max(factors)) == 9
    assert factors[50] == pytest.approx(0.55, abs=1e-6)
    assert factors[-1] == pytest.approx(0.1, abs=0.01)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_further_rounds_start_from_half() -> None:
    schedule = Schedule(steps=100, more=20, rounds=2)
    assert schedule.end == 140
    assert schedule(100) == schedule(120) == 0.5
    assert schedule(119) == pytest.approx(0.1, abs=0.01)


@given(st.integers(1, 300), st.integers(0, 100), st.integers(0, 40), st.integers(0, 3), st.integers(0, 400))
def test_a_factor_is_always_between_nothing_and_the_peak(
    steps: int, more: int, warmup: int, rounds: int, step: int
) -> None:
    schedule = Schedule(steps, more, warmup, rounds=rounds)
    assert 0.0 < schedule(step) <= 1.0
    longer = Schedule(steps, more, warmup, rounds=rounds + 1)
    assert longer(step) == schedule(step)  # a further round changes nothing that was done
