"""Numbers of eight bits, and products of matrices that are made of them, as DeepSeek-V3 was trained (arXiv 2412.19437,
section 3.3), computed with rounding to the bit on any processor.

Nothing is faster for it: what is gained on a GPU is lost here, and what is measured is the error.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Format = Literal["e4m3", "e5m2"]

_MANTISSA = {"e4m3": 3, "e5m2": 2}
_LEAST_EXPONENT = {"e4m3": -6, "e5m2": -14}  # below it numbers lie as far apart as there
_TYPES = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}

TILE = 128
STEP = 32
"""Products that a tensor core adds at once."""


@dataclass(frozen=True)
class Accumulator:
    """How sums of products are kept.

    bits      of the mantissa, 23 being fp32; the tensor cores of an H800 keep 13 (its sums are cut off there, not
              rounded)
    promoted  after so many products a sum goes to an fp32 one, and begins anew; None for never. DeepSeek-V3 has 128.
    """

    bits: int = 23
    promoted: int | None = TILE


def rounded(values: Tensor, kind: Format, draws: torch.Generator | None = None) -> Tensor:
    """fp32 values as this format has them, in fp32: the nearest, of two that are as near the even one; with `draws`
    one of the two neighbours, by chance, so that the mean is the value (stochastic rounding). What is too large
    becomes the largest."""
    largest = torch.finfo(_TYPES[kind]).max
    values = values.clamp(-largest, largest)
    # frexp has mantissas from 1/2, and so exponents that are 1 more than those of the format.
    exponent = (torch.frexp(values).exponent - 1).clamp(min=_LEAST_EXPONENT[kind])
    apart = torch.exp2((exponent - _MANTISSA[kind]).float())
    steps = values / apart  # by a power of two, which is exact
    if draws is None:
        return steps.round() * apart
    lower = steps.floor()
    up = torch.rand(values.shape, generator=draws) < steps - lower
    return ((lower + up) * apart).clamp(-largest, largest)


def quantized(
    values: Tensor, tile: tuple[int, int], kind: Format = "e4m3", draws: torch.Generator | None = None
) -> Tensor:
    """A matrix as it is after it was written in this format and read back. Each tile of [rows, columns] has a scale of
    its own, by which its largest value becomes the format's largest; tiles at the edges may be smaller."""
    rows, columns = values.shape
    down, across = -(-rows // tile[0]), -(-columns // tile[1])
    padded = torch.nn.functional.pad(values.float(), (0, across * tile[1] - columns, 0, down * tile[0] - rows))
    tiles = padded.view(down, tile[0], across, tile[1])
    largest = tiles.abs().amax(dim=(1, 3), keepdim=True)
    scale = torch.where(largest > 0, largest / torch.finfo(_TYPES[kind]).max, torch.ones_like(largest))
    back = rounded(tiles / scale, kind, draws) * scale
    return back.view(down * tile[0], across * tile[1])[:rows, :columns]


def product(left: Tensor, right: Tensor, accumulator: Accumulator = Accumulator()) -> Tensor:
    """left [rows, inner] times right [inner, columns], with sums kept by this accumulator."""
    if accumulator.bits >= 23:
        return left @ right
    inner = left.shape[1]
    total = left.new_zeros(left.shape[0], right.shape[1])
    held = torch.zeros_like(total)
    for first in range(0, inner, STEP):
        held = _cut(held + left[:, first : first + STEP] @ right[first : first + STEP], accumulator.bits)
        if accumulator.promoted and (first + STEP) % accumulator.promoted == 0:
            total, held = total + held, torch.zeros_like(held)
    return total + held


def _cut(values: Tensor, bits: int) -> Tensor:
    """fp32 values with the last bits of their mantissas cut off, so that `bits` are left."""
    mask = -(1 << (23 - bits))
    return (values.contiguous().view(torch.int32) & mask).view(torch.float32)
