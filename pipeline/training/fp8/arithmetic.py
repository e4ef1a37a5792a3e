"""Numbers of eight bits, with a scale for each tile of a matrix, as DeepSeek-V3 was trained (arXiv 2412.19437, section
3.3), computed with rounding to the bit on any processor."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.training.fp8.section import Format

TYPES = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}

_MANTISSA = {"e4m3": 3, "e5m2": 2}
_LEAST_EXPONENT = {"e4m3": -6, "e5m2": -14}  # below it numbers lie as far apart as there

TILE = 128
"""Neighbours along what a product sums over that share a scale."""


@dataclass(frozen=True)
class Tiles:
    """A matrix in eight bits.

    codes   [.., rows, inner], numbers of the format `kind`, held in a wider one
    scales  [.., rows, tiles], by which the numbers of each tile of `TILE` along `inner` are multiplied; the last tile
            may be smaller
    """

    codes: Tensor
    scales: Tensor
    kind: Format

    def values(self) -> Tensor:
        """The matrix as it is when it is read back, [.., rows, inner], in fp32."""
        scaled = tiled(self.codes) * self.scales.unsqueeze(-1)
        return scaled.flatten(-2)[..., : self.codes.shape[-1]]

    def of_rows(self, rows: "slice | int") -> "Tiles":
        """Some rows, or of several matrices one."""
        return Tiles(self.codes[rows], self.scales[rows], self.kind)

    def of_inner(self, inner: slice) -> "Tiles":
        """Some columns, which begin with a tile."""
        tiles = slice(inner.start // TILE, -(-inner.stop // TILE))
        return Tiles(self.codes[..., inner], self.scales[..., tiles], self.kind)

    def transposed(self) -> "Tiles":
        """Of a matrix by blocks: the same numbers, whose tiles now lie along what were rows."""
        blocks = self.scales[..., ::TILE, :].mT.repeat_interleave(TILE, dim=-2)
        return Tiles(self.codes.mT, blocks[..., : self.codes.shape[-1], :], self.kind)


def by_row(values: Tensor, kind: Format = "e4m3", draws: torch.Generator | None = None) -> Tiles:
    """A matrix [.., rows, inner] in this format, with a scale for each 1 x `TILE` of it: that by which the tile's
    largest value becomes the format's largest. `draws` as of `rounded`."""
    tiles = tiled(values)
    scale = _scale(tiles.abs().amax(dim=-1, keepdim=True), kind)
    codes = _round(tiles / scale, kind, draws).flatten(-2)
    return Tiles(codes[..., : values.shape[-1]], scale.squeeze(-1), kind)


def by_block(values: Tensor, kind: Format = "e4m3") -> Tiles:
    """A matrix [.., rows, inner] in this format, with a scale for each `TILE` x `TILE` of it."""
    rows, inner = values.shape[-2:]
    tiles = tiled(F.pad(values, (0, 0, 0, -rows % TILE)))
    blocks = tiles.view(*tiles.shape[:-3], -(-rows // TILE), TILE, *tiles.shape[-2:])  # [.., down, TILE, across, size]
    scale = _scale(blocks.abs().amax(dim=(-3, -1), keepdim=True), kind)
    codes = _round(blocks / scale, kind, None).flatten(-2).flatten(-3, -2)
    scales = scale.squeeze(-1).expand(*blocks.shape[:-1]).flatten(-3, -2)
    return Tiles(codes[..., :rows, :inner], scales[..., :rows, :], kind)


def tiled(values: Tensor) -> Tensor:
    """[.., inner] as [.., tiles, size of a tile]: of less than `TILE` as one tile of its size, of more with zeros where
    the last tile is not full."""
    size = min(TILE, values.shape[-1]) or TILE
    missing = -values.shape[-1] % size
    padded = F.pad(values, (0, missing)) if missing else values
    return padded.reshape(*values.shape[:-1], padded.shape[-1] // size, size)


def _scale(largest: Tensor, kind: Format) -> Tensor:
    scale = largest / torch.finfo(TYPES[kind]).max
    return scale.masked_fill(scale == 0, 1.0)


def rounded(values: Tensor, kind: Format, draws: torch.Generator | None = None) -> Tensor:
    """fp32 values as this format has them, in fp32: the nearest, of two that are as near the even one; with `draws`
    one of the two neighbours, by chance, so that the mean is the value (stochastic rounding). What is too large
    becomes the largest."""
    return _round(values.clone(), kind, draws)


def _round(values: Tensor, kind: Format, draws: torch.Generator | None) -> Tensor:
    """`rounded`, in place."""
    largest = torch.finfo(TYPES[kind]).max
    values.clamp_(-largest, largest)
    # fp32 without its sign and its mantissa is the power of two below a number. It says how far apart the format's
    # numbers lie there.
    power = (values.view(torch.int32) & 0x7F80_0000).view(torch.float32)
    power.clamp_(min=2.0 ** _LEAST_EXPONENT[kind])
    if draws is None:
        # Between 2^23 and 2^24 times that distance fp32 has its multiples alone, and rounds sums to them: to the
        # nearest, and of two to the even one.
        far = power.mul_(1.5 * 2.0 ** (23 - _MANTISSA[kind]))
        return values.add_(far).sub_(far)
    apart = power.mul_(2.0 ** -_MANTISSA[kind])
    steps = values.div_(apart)  # by a power of two, which is exact
    lower = steps.floor()
    chance = torch.rand(values.shape, generator=draws, device=values.device)
    return lower.add_(chance < steps.sub_(lower)).mul_(apart)
