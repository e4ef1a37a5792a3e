"""Sums of a tensor core by hand, and the device's own product beside the exact one."""

import pytest
import torch
from torch import Tensor

from pipeline.training.fp8.arithmetic import Tiles, by_block, by_row
from pipeline.training.fp8.products import PRODUCTS, exact, never_promoted, promoted, scaled_mm
from pipeline.training.fp8.section import Accumulation


def plain(values: Tensor) -> Tiles:
    """Numbers that eight bits hold, with scales of 1."""
    return Tiles(values, torch.ones(*values.shape[:-1], -(-values.shape[-1] // 128)), "e4m3")


def product(kind: Accumulation, left: list[float], right: list[float]) -> float:
    return PRODUCTS[kind](plain(torch.tensor([left])), plain(torch.tensor([right]))).item()


def test_sums_of_13_bits_are_cut_off_by_hand() -> None:
    # 256 x 256 in the first step, 1 + 1 + 1 in the second, 7 x 1 in the third: 2^16, of which 13 bits tell 8 apart
    left = [256.0, *[0.0] * 31, 1.0, 1.0, 1.0, *[0.0] * 29, 7.0, *[0.0] * 31]
    right = [256.0, *[0.0] * 31, 1.0, 1.0, 1.0, *[0.0] * 29, 1.0, *[0.0] * 31]
    assert product("fp32", left, right) == 2**16 + 10
    assert product("promoted", left, right) == product("tensor_core", left, right) == 2**16  # each is cut alone
    together = [*left[:32], 1.0, 1.0, 1.0, 7.0, *[0.0] * 28]
    ones = [*right[:32], *[1.0] * 32]
    assert product("promoted", together, ones) == 2**16 + 8  # a step's own sum is exact: 10, of which 8 stay
    negative = [-value for value in together]
    assert product("promoted", negative, ones) == -(2**16) - 8  # towards zero


def test_an_accumulator_of_few_bits_forgets_what_is_small_until_it_is_promoted() -> None:
    left, right = torch.ones(1, 4096), torch.ones(1, 4096)
    left[0, 0] = right[0, 0] = 448.0  # 200,704, where 13 bits tell 16 apart, and a step of 32 ones is seen
    right[0, 32:] = 0.25  # and one of 8 is not
    assert exact(plain(left), plain(right)).item() == 448**2 + 31 + 4064 / 4
    assert never_promoted(plain(left), plain(right)).item() == 448**2 + 16
    assert promoted(plain(left), plain(right)).item() == 448**2 + 16 + (4096 - 128) / 4  # all but the first tile's


def test_tiles_are_scaled_after_their_sums_are_made() -> None:
    left = Tiles(torch.ones(2, 256), torch.tensor([[1.0, 3.0], [0.5, 0.1]]), "e4m3")
    right = Tiles(torch.ones(1, 256), torch.tensor([[2.0, 7.0]]), "e4m3")
    for kind in PRODUCTS.values():
        found = kind(left, right)
        assert torch.allclose(found, torch.tensor([[128 * 2 + 128 * 21.0], [128 * 1 + 128 * 0.7]]), rtol=2.0**-11)
    assert promoted(left, right)[0].item() == 128 * 23  # 128 is one of 14 bits, whatever it is scaled by


@pytest.mark.parametrize("kind", PRODUCTS)
@pytest.mark.parametrize("sizes", [(9, 5, 300), (17, 33, 64), (0, 5, 128), (9, 5, 0)])
def test_every_product_is_near_the_exact_one(kind: Accumulation, sizes: tuple[int, int, int]) -> None:
    draws = torch.Generator().manual_seed(0)
    rows, columns, inner = sizes
    left = by_row(torch.randn(rows, inner, generator=draws), "e5m2")
    right = by_block(torch.randn(inner, columns, generator=draws)).transposed()
    found, expected = PRODUCTS[kind](left, right), exact(left, right)
    assert found.shape == (rows, columns)
    bound = {"fp32": 0.0, "scaled_mm": 1e-6}.get(kind, 2.0**-10)
    assert (found - expected).norm() <= bound * expected.norm()
    if kind in ("promoted", "tensor_core") and expected.any():
        assert not torch.equal(found, expected)


def test_promotion_and_bits_make_sums_better() -> None:
    draws = torch.Generator().manual_seed(2)
    left, right = (by_row(torch.rand(16, 4096, generator=draws)) for _ in range(2))
    wanted = left.values().double() @ right.values().double().T

    def worst(found: Tensor) -> float:
        return float(((found - wanted).abs() / wanted).max())

    assert worst(never_promoted(left, right)) > 10 * worst(promoted(left, right)) > 100 * worst(exact(left, right))
    assert worst(never_promoted(left, right, 13)) > worst(never_promoted(left, right, 14))
    assert worst(promoted(left, right, 13)) > worst(promoted(left, right, 14))
    assert worst(scaled_mm(left, right)) < 1e-5


def test_sums_that_are_too_many_to_be_held_at_once_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = torch.Generator().manual_seed(3)
    left, right = (by_row(torch.randn(4, 1000, generator=draws)) for _ in range(2))
    at_once = promoted(left, right)
    monkeypatch.setattr("pipeline.training.fp8.products._HELD", 1)
    assert torch.allclose(promoted(left, right), at_once, atol=1e-5)
