"""Products forward and backward beside those of matrices that were rounded by hand."""

import pytest
import torch
from torch import Tensor

from pipeline.training.fp8.arithmetic import TYPES
from pipeline.training.fp8.grouped import How, in_eight_bits
from pipeline.training.fp8.products import exact
from pipeline.training.fp8.section import Format

COUNTS = [150, 0, 9]
INNER, OUTER = 200, 40


def by_hand(matrix: Tensor, rows: int, kind: Format = "e4m3") -> Tensor:
    """A matrix as it is after torch's cast of each tile of so many rows by 128, which is scaled for it."""
    found = torch.empty_like(matrix)
    for row in range(0, matrix.shape[0], rows):
        for column in range(0, matrix.shape[1], 128):
            tile = matrix[row : row + rows, column : column + 128]
            scale = tile.abs().max() / torch.finfo(TYPES[kind]).max
            found[row : row + rows, column : column + 128] = (tile / scale).to(TYPES[kind]).float() * scale
    return found


def gradients(how: How | None, inputs: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The products of groups, and the gradients of both; without `how` in fp32."""
    inputs, weight = inputs.clone().requires_grad_(), weight.clone().requires_grad_()
    if how is None:
        groups = zip(inputs.split(COUNTS), weight, strict=True)
        made = torch.cat([rows @ matrix.T for rows, matrix in groups])
    else:
        made = in_eight_bits(inputs, weight, COUNTS, how)
    made.backward(gradient)
    assert inputs.grad is not None
    assert weight.grad is not None
    return made.detach(), inputs.grad, weight.grad


@pytest.fixture
def drawn() -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    rows = sum(COUNTS)
    sizes = (rows, INNER), (len(COUNTS), OUTER, INNER), (rows, OUTER)
    inputs, weight, gradient = (torch.randn(size, generator=draws) for size in sizes)
    return inputs, weight, gradient * torch.logspace(-6, 0, rows).unsqueeze(1)


@pytest.mark.parametrize("backward", ["e4m3", "e5m2"])
def test_products_are_of_what_is_rounded(drawn: tuple[Tensor, Tensor, Tensor], backward: Format) -> None:
    found = gradients(How(exact, backward), *drawn)
    begin = 0
    for group, count in enumerate(COUNTS):
        inputs, weight, gradient = drawn[0][begin : begin + count], drawn[1][group], drawn[2][begin : begin + count]
        eighths = by_hand(weight, 128)
        if count:
            forward = by_hand(inputs, 1)
            # The paper's: what is summed over tokens is tiled anew from what is in eight bits already.
            of_weight = by_hand(gradient.T, 1, backward) @ by_hand(forward.T, 1).T
            of_inputs = by_hand(gradient, 1, backward) @ eighths
            assert torch.allclose(found[0][begin : begin + count], forward @ eighths.T, atol=1e-4)
            assert torch.allclose(found[1][begin : begin + count], of_inputs, rtol=1e-4, atol=1e-9)
            assert torch.allclose(found[2][group], of_weight, rtol=1e-4, atol=1e-5)
        else:
            assert not found[2][group].any()
        begin += count


def test_what_differs_from_fp32_is_small_and_not_nothing(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    for found, expected in zip(gradients(How(), *drawn), gradients(None, *drawn), strict=True):
        assert 0.01 < float((found - expected).norm() / expected.norm()) < 0.06


def test_what_is_representable_is_exact() -> None:
    levels = torch.tensor([-448.0, -224.0, -112.0, 0.0, 112.0, 224.0, 448.0])
    draws = torch.Generator().manual_seed(0)

    def some(*size: int) -> Tensor:
        found = levels[torch.randint(0, 7, size, generator=draws)]
        found[..., 0] = found[..., 0, :] = 448.0  # in each tile, so that its scale is 1
        return found

    values = some(sum(COUNTS), 128), some(len(COUNTS), OUTER, 128), some(sum(COUNTS), OUTER)
    values[0][150], values[2][150] = 448.0, 448.0
    for found, expected in zip(gradients(How(exact), *values), gradients(None, *values), strict=True):
        assert torch.equal(found, expected)


def test_gradients_that_are_rounded_by_chance_are_right_on_average(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    inputs, weight, gradient = drawn
    draws = torch.Generator().manual_seed(0)
    many = [gradients(How(exact, "e5m2", draws), inputs, weight, gradient)[1] for _ in range(60)]
    nearest = gradients(How(exact, "e5m2"), inputs, weight, gradient)[1]
    in_full = gradients(How(exact, "e4m3"), inputs, weight, gradient)[1]
    expected = gradient[:150] @ by_hand(weight[0], 128)

    def error(found: Tensor) -> float:
        return float((found[:150] - expected).norm() / expected.norm())

    assert error(torch.stack(many).mean(dim=0)) < 0.4 * error(nearest)
    assert error(many[0]) > error(nearest) > error(in_full)
