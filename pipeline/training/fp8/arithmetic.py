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
    codes = rounded(tiles / scale, kind, draws).flatten(-2)
    return Tiles(codes[..., : values.shape[-1]], scale.squeeze(-1), kind)


def by_block(values: Tensor, kind: Format = "e4m3") -> Tiles:
    """A matrix [.., rows, inner] in this format, with a scale for each `TILE` x `TILE` of it."""
    rows, inner = values.shape[-2:]
    blocks = tiled(F.pad(values, (0, 0, 0, -rows % TILE)))
    blocks = blocks.view(*blocks.shape[:-3], -(-rows // TILE), TILE, *blocks.shape[-2:])  # [.., down, TILE, across, TILE]
    scale = _scale(blocks.abs().amax(dim=(-3, -1), keepdim=True), kind)
    codes = rounded(blocks / scale, kind).flatten(-2).flatten(-3, -2)
    scales = scale.squeeze(-1).expand(*blocks.shape[:-1]).flatten(-3, -2)
    return Tiles(codes[..., :rows, :inner], scales[..., :rows, :], kind)


def tiled(values: Tensor) -> Tensor:
    """[.., inner] as [.., tiles, TILE], with zeros where the last tile is not full."""
    missing = -values.shape[-1] % TILE
    padded = F.pad(values, (0, missing)) if missing else values
    return padded.reshape(*values.shape[:-1], padded.shape[-1] // TILE, TILE)


def _scale(largest: Tensor, kind: Format) -> Tensor:
    scale = largest / torch.finfo(TYPES[kind]).max
    return scale.masked_fill(scale == 0, 1.0)


def rounded(values: Tensor, kind: Format, draws: torch.Generator | None = None) -> Tensor:
    """fp32 values as this format has them, in fp32: the nearest, of two that are as near the even one; with `draws`
    one of the two neighbours, by chance, so that the mean is the value (stochastic rounding). What is too large
    becomes the largest."""
    largest = torch.finfo(TYPES[kind]).max
    values = values.clamp(-largest, largest)
    # fp32 without its sign and its mantissa is the power of two below a number. It says how far apart the format's
    # numbers lie there.
    power = (values.view(torch.int32) & 0x7F80_0000).view(torch.float32)
    apart = power.clamp_(min=2.0 ** _LEAST_EXPONENT[kind]).mul_(2.0 ** -_MANTISSA[kind])
    if draws is None:
        # Between 2^23 and 2^24 times `apart` fp32 has the multiples of `apart` alone, and rounds sums to them: to the
        # nearest, and of two to the even one.
        far = apart.mul_(1.5 * 2**23)
        return values.add_(far).sub_(far)
    steps = values.div_(apart)  # by a power of two, which is exact
    lower = steps.floor()
    chance = torch.rand(values.shape, generator=draws, device=values.device)
    return lower.add_(chance < steps.sub_(lower)).mul_(apart)
