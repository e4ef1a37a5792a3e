"""Rates over a stage: up, down by a cosine, and up to half again where a further round is asked for."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.learning import RateSchedule
from pipeline.training.optimizer.schedule import Schedule, Shape, schedule_of


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


@pytest.mark.parametrize(("wanted", "rates"), [
    ({}, [0.5, 1.0, 0.8, 0.52]),
    ({"shape": "linear", "floor": 0.0, "warmup_steps": 0}, [1.0, 0.9, 0.5, 0.1]),
    ({"shape": "constant", "warmup": 0.2}, [0.5, 1.0, 1.0, 1.0]),
    ({"shape": "wsd", "warmup_steps": 0, "decay": 0.5}, [1.0, 1.0, 1.0, 0.2]),
    ({"shape": "wsd", "warmup_steps": 0, "decay": 0.5, "floor": 0.5}, [1.0, 1.0, 1.0, 0.6]),
])
def test_what_a_recipe_wants(wanted: dict[str, Any], rates: list[float]) -> None:
    schedule = schedule_of(RateSchedule.model_validate(wanted), steps=10, warmup=2)
    expected = {0: rates[0], 1: rates[1], 5: rates[2], 9: rates[3]}
    found = {step: schedule(step) for step in expected}
    if not wanted:  # a cosine from 1 to 0.1, behind two steps of warm-up
        expected = {step: min(1, (step + 1) / 2) * (0.1 + 0.45 * (1 + math.cos(math.pi * step / 10))) for step in found}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("shape", "warmup", "highest"), [
    ("cosine", 0.1, 0.98), ("linear", 0.1, 0.92), ("cosine", 0.3, 0.83), ("linear", 0.3, 0.74),
    ("cosine", 0.5, 0.57), ("linear", 0.5, 0.56), ("constant", 0.5, 1.0), ("wsd", 0.5, 1.0),
])
def test_the_highest_rate_is_what_the_fields_say(shape: Shape, warmup: float, highest: float) -> None:
    schedule = schedule_of(RateSchedule(shape=shape, warmup=warmup), steps=100, warmup=0)
    assert round(max(schedule(step) for step in range(100)), 2) == highest


@pytest.mark.parametrize(("steps", "warmup", "highest"), [(10, 5, 0.69), (5, 5, 0.41), (30, 30, 0.30)])
def test_the_highest_rate_of_a_short_stage_is_what_the_readme_says(steps: int, warmup: int, highest: float) -> None:
    schedule = schedule_of(RateSchedule(), steps, warmup)
    assert round(max(schedule(step) for step in range(steps)), 2) == highest


def test_a_warm_up_from_nothing_is_that_of_transformers() -> None:
    import torch
    from transformers import get_constant_schedule_with_warmup

    schedule = schedule_of(RateSchedule(), steps=12, warmup=4, shape="constant", first=0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_constant_schedule_with_warmup(optimizer, 4)
    for step in range(12):
        assert schedule(step) == theirs.get_last_lr()[0]
        optimizer.step()
        theirs.step()
