"""Products of two matrices of eight bits, by how their sums are kept.

A tensor core multiplies and adds `STEP` pairs at once and keeps the sum in fewer bits than fp32 has; what tiles are
scaled by is multiplied outside of it (DeepSeek-V3, arXiv 2412.19437, section 3.3.2, figure 7). Simulated here: the sum
of a step is that of fp32, and what it is added to is cut off, not rounded, to so many bits. The paper says further that
each product of a step is cut where the largest one of the step ends (section 3.5.2), which is left out.
"""

from collections.abc import Callable
from functools import partial, reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.training.fp8.arithmetic import TYPES, Tiles, tiled
from pipeline.training.fp8.section import Accumulation

Product = Callable[[Tiles, Tiles], Tensor]
"""Of left [rows, inner] and right [columns, inner]: left times right transposed, [rows, columns], in fp32."""

STEP = 32
"""Products that a tensor core adds at once."""

MANTISSA = 13
"""Bits behind the point of a tensor core's sums, on an H800; fp32 has 23."""

_HELD = 2**22
"""Most sums of tiles that are held at once."""

_MULTIPLE = 16
"""Of which cuBLAS wants the sizes of matrices of eight bits."""


def exact(left: Tiles, right: Tiles) -> Tensor:
    """With sums in fp32."""
    return left.values() @ right.values().mT


def promoted(left: Tiles, right: Tiles, mantissa: int = MANTISSA) -> Tensor:
    """With sums of so many bits, each of which is added to one of fp32 after a tile, and begins anew."""
    ours, theirs = _steps(left.codes.float()), _steps(right.codes.float()).mT  # [tiles, steps, ..]
    scales = left.scales.T.unsqueeze(2), right.scales.T.unsqueeze(1)  # [tiles, rows, 1], [tiles, 1, columns]
    size = max(1, _HELD // max(1, ours.shape[2] * theirs.shape[3]))
    parts = [torch.split(one, size) for one in (ours, theirs, *scales)]
    return reduce(torch.add, map(partial(_tiles, mantissa), *parts))


def _tiles(mantissa: int, ours: Tensor, theirs: Tensor, of_ours: Tensor, of_theirs: Tensor) -> Tensor:
    """The products of some tiles and their scales, added up in fp32."""
    held = _cut(torch.bmm(ours[:, 0], theirs[:, 0]), mantissa)
    for step in range(1, ours.shape[1]):
        held = _cut(held.baddbmm_(ours[:, step], theirs[:, step]), mantissa)
    held.mul_(of_ours).mul_(of_theirs)
    return held[0] if len(held) == 1 else held.sum(dim=0)


def never_promoted(left: Tiles, right: Tiles, mantissa: int = MANTISSA) -> Tensor:
    """With sums of so many bits to the end. Tiles are scaled before, since there is no place for it after."""
    ours, theirs = _steps(left.values()).flatten(0, 1), _steps(right.values()).flatten(0, 1)  # [steps, rows, STEP]
    held = ours.new_zeros(ours.shape[1], theirs.shape[1])
    for our, their in zip(ours, theirs, strict=True):
        held = _cut(held.addmm_(our, their.mT), mantissa)
    return held


def scaled_mm(left: Tiles, right: Tiles) -> Tensor:
    """As the device multiplies eight bits, tile by tile, with sums of tiles in fp32."""
    rows, columns = left.codes.shape[0], right.codes.shape[0]
    total = left.codes.new_zeros(rows, columns, dtype=torch.float32)
    if not rows:
        return total
    one, whole = total.new_ones(()), F.ScalingType.TensorWise
    ours, theirs = (_in_eight_bits(one_side) for one_side in (left, right))
    for tile, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        part = F.scaled_mm(our, their.mT, one, whole, one, whole, output_dtype=torch.float32)[:rows, :columns]
        total += part * left.scales[:, tile, None] * right.scales[:, tile]
    return total


PRODUCTS: dict[Accumulation, Product] = {
    "fp32": exact, "promoted": promoted, "tensor_core": never_promoted, "scaled_mm": scaled_mm,
}


def _steps(values: Tensor) -> Tensor:
    """[rows, inner] as [tiles, steps of a tile, rows, STEP]."""
    tiles = _padded(tiled(values), STEP)
    return tiles.view(*tiles.shape[:2], tiles.shape[2] // STEP, STEP).permute(1, 2, 0, 3)


def _in_eight_bits(matrix: Tiles) -> Tensor:
    """[tiles, rows, size of a tile], as torch has eight bits, both with zeros up to a multiple."""
    codes = _padded(tiled(matrix.codes).transpose(0, 1), _MULTIPLE)
    return _padded(codes.mT, _MULTIPLE).mT.to(TYPES[matrix.kind]).contiguous()


def _padded(values: Tensor, multiple: int) -> Tensor:
    """With zeros behind, so that the last size is a multiple."""
    missing = -values.shape[-1] % multiple
    return F.pad(values, (0, missing)) if missing else values


def _cut(values: Tensor, mantissa: int) -> Tensor:
    """fp32 values, changed in place, whose mantissas keep their first bits alone."""
    values.view(torch.int32).bitwise_and_(-(1 << (23 - mantissa)))
    return values
