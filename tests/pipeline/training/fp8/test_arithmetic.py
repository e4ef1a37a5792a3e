"""Eight bits against torch's own casts, stochastic rounding against its mean, accumulators against exact sums."""

import pytest
import torch

from pipeline.training.fp8.arithmetic import Accumulator, Format, product, quantized, rounded

TYPES = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


@pytest.mark.parametrize("kind", TYPES)
def test_rounding_is_torchs_cast(kind: Format) -> None:
    generator = torch.Generator().manual_seed(0)
    exponents = torch.randint(-20, 9, (20_000,), generator=generator).float()
    values = torch.randn(20_000, generator=generator) * torch.exp2(exponents)
    values = values[values.abs() <= torch.finfo(TYPES[kind]).max]
    ties = torch.tensor([17.0, 19.0, 0.0, 2.0**-10, 3 * 2.0**-10, -17.0])
    for some in (values, ties):
        assert torch.equal(rounded(some, kind), some.to(TYPES[kind]).float())


@pytest.mark.parametrize("kind", TYPES)
def test_every_number_of_eight_bits_stays_and_what_is_too_large_is_the_largest(kind: Format) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(TYPES[kind]).float()
    every = every[every.isfinite()]
    assert torch.equal(rounded(every, kind), every)
    assert torch.equal(rounded(every, kind, torch.Generator().manual_seed(0)), every)
    largest = torch.finfo(TYPES[kind]).max
    assert rounded(torch.tensor([1e9, -1e9]), kind).tolist() == [largest, -largest]


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
    found = quantized(values, (1, 128))
    assert torch.equal(found[[0, 2]], values[[0, 2]])
    assert torch.equal(found[1, :128], values[1, :128])
    assert found[1, 130] == 0
    assert found[1, 200] == 1e7
    block = quantized(values, (128, 128))
    assert block[0, 130] == 0  # which shares the outlier's block
    assert quantized(torch.zeros(2, 5), (1, 128)).abs().max() == 0


def test_relative_error_of_e4m3_is_at_most_a_sixteenth() -> None:
    values = torch.randn(64, 256, generator=torch.Generator().manual_seed(1))
    found = quantized(values, (1, 128))
    scale = values.view(64, 2, 128).abs().amax(dim=2, keepdim=True).expand(-1, -1, 128).reshape(64, 256) / 448
    normal = values.abs() > scale * 2.0**-6
    assert ((found - values).abs() / values.abs())[normal].max() <= 2.0**-4 + 1e-6
    assert (found - values).abs().max() > 0


def test_an_accumulator_of_few_bits_forgets_what_is_small() -> None:
    left, right = torch.ones(1, 4096), torch.full((4096, 1), 1.0)
    left[0, 0] = 2.0**19
    exact = float((left.double() @ right.double()).item())
    assert product(left, right).item() == exact
    kept = product(left, right, Accumulator(13, None)).item()
    assert kept == 2.0**19  # sums of 32 ones are below half of what 13 bits tell apart there
    promoted = product(left, right, Accumulator(13, 128)).item()
    assert promoted == exact - 127  # but for the ones of the first 128


def test_promotion_makes_sums_better() -> None:
    generator = torch.Generator().manual_seed(2)
    left, right = torch.rand(16, 4096, generator=generator), torch.rand(4096, 16, generator=generator)
    exact = left.double() @ right.double()

    def worst(accumulator: Accumulator) -> float:
        return float(((product(left, right, accumulator) - exact).abs() / exact).max())

    assert worst(Accumulator(13, None)) > 10 * worst(Accumulator(13, 128)) > worst(Accumulator())
