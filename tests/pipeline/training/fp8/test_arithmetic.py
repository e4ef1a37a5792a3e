"""Eight bits against torch's own casts, stochastic rounding against its mean, tiles against scales by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.fp8.arithmetic import TYPES, by_block, by_row, rounded
from pipeline.training.fp8.section import Format

SOME = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40)


@pytest.mark.parametrize("kind", TYPES)
@given(values=SOME)
def test_rounding_is_torchs_cast(kind: Format, values: list[float]) -> None:
    largest = torch.finfo(TYPES[kind]).max
    some = torch.tensor(values, dtype=torch.float32).clamp(-largest, largest)
    for scale in (1.0, 2.0**-120, 2.0**-124, 2.0**-130):  # most that hypothesis draws is too large, or nothing
        assert torch.equal(rounded(some * scale, kind), (some * scale).to(TYPES[kind]).float())


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_around_every_number_and_every_tie_are_rounded_as_torch_does(kind: Format) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(TYPES[kind]).float()
    every = every[every.isfinite()].sort().values
    ties = (every[1:] + every[:-1]) / 2
    beside = [torch.nextafter(one, torch.full_like(one, far)) for one in (every, ties) for far in (-math.inf, math.inf)]
    for values in (every, ties, *beside):
        inside = values[values.abs() <= torch.finfo(TYPES[kind]).max]
        assert torch.equal(rounded(inside, kind), inside.to(TYPES[kind]).float())


@pytest.mark.parametrize("kind", TYPES)
def test_every_number_of_eight_bits_stays_and_what_is_too_large_is_the_largest(kind: Format) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(TYPES[kind]).float()
    every = every[every.isfinite()]
    assert torch.equal(rounded(every, kind, torch.Generator().manual_seed(0)), every)
    largest = torch.finfo(TYPES[kind]).max
    assert rounded(torch.tensor([1e9, -math.inf]), kind).tolist() == [largest, -largest]
    assert rounded(torch.tensor([math.nan]), kind).isnan().all()  # which a person should see


@pytest.mark.parametrize("kind", TYPES)
@given(values=SOME, seed=st.integers(0, 2**40))
def test_by_chance_a_number_is_one_of_its_two_neighbours(kind: Format, values: list[float], seed: int) -> None:
    largest = torch.finfo(TYPES[kind]).max
    some = torch.tensor(values, dtype=torch.float32).clamp(-largest, largest)
    every = torch.arange(256, dtype=torch.uint8).view(TYPES[kind]).float()
    every = every[every.isfinite()].unique()
    for scale in (1.0, 2.0**-120):
        found = rounded(some * scale, kind, torch.Generator().manual_seed(seed))
        above = every[torch.searchsorted(every, some * scale)]
        below = every[torch.searchsorted(every, some * scale, right=True) - 1]
        assert ((found == above) | (found == below)).all()


def test_stochastic_rounding_is_right_on_average() -> None:
    values = torch.tensor([1.03, -1.03, 17.9, 0.001]).repeat(40_000, 1)
    found = rounded(values, "e4m3", torch.Generator().manual_seed(0))
    assert all(len(column.unique()) == 2 for column in found.T)
    apart = torch.tensor([0.125, 0.125, 2.0, 2.0**-9])
    assert ((found.mean(dim=0) - values[0]).abs() < 4 * apart / 2 / 200).all()  # four standard errors at the most
    assert rounded(torch.tensor([1.03]), "e4m3").item() == 1.0


def test_each_tile_has_its_own_scale() -> None:
    values = torch.ones(3, 300)
    values[1, 200] = 1e7  # an outlier: it costs its own tile alone
    values[1, 130] = 3.3
    found = by_row(values).values()
    assert torch.equal(found[[0, 2]], values[[0, 2]])
    assert torch.equal(found[1, :128], values[1, :128])
    assert found[1, 130] == 0
    assert found[1, 200] == 1e7
    block = by_block(values).values()
    assert torch.equal(block[:, :128], values[:, :128])
    assert block[0, 130] == 0  # which shares the outlier's block
    for nothing in (torch.zeros(2, 5), torch.full((2, 5), 1e-44), torch.zeros(0, 5)):
        assert not by_row(nothing).values().any()
        assert not by_block(nothing).values().any()


def test_blocks_of_several_matrices_are_those_of_each_and_of_their_transposes() -> None:
    values = torch.randn(3, 150, 200, generator=torch.Generator().manual_seed(1))
    values *= torch.logspace(-3, 3, 200)
    found = by_block(values)
    for number, matrix in enumerate(values):
        assert torch.equal(found.of_rows(number).values(), by_block(matrix).values())
        assert torch.equal(found.transposed().of_rows(number).values(), by_block(matrix.T).values())
    assert torch.equal(found.transposed().values(), found.values().mT)


def test_relative_error_of_e4m3_is_at_most_a_sixteenth() -> None:
    values = torch.randn(64, 256, generator=torch.Generator().manual_seed(1))
    tiles = by_row(values)
    found = tiles.values()
    normal = values.abs() > tiles.scales.repeat_interleave(128, dim=1) * 2.0**-6
    assert ((found - values).abs() / values.abs())[normal].max() <= 2.0**-4 + 1e-6
    assert (found - values).abs().max() > 0
