"""What a figure can be made of."""

import math

import pytest

from pipeline.results.finite import is_number


@pytest.mark.parametrize("value", [0, -1, 0.5, 2**60, -1e299])
def test_numbers(value: object) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, None, "1", [1], math.nan, math.inf, -math.inf, 10**400, 1.7e308])
def test_what_is_none(value: object) -> None:
    assert not is_number(value)
