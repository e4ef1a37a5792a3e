"""Products of groups of rows with a matrix for each group, in eight bits forward and backward (DeepSeek-V3, arXiv
2412.19437, figure 6). A linear layer is one group; fused experts are one for each expert."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any  # torch's context of a function has no type

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.training.fp8.arithmetic import TILE, Tiles, by_block, by_row
from pipeline.training.fp8.products import Product, promoted
from pipeline.training.fp8.section import Format


@dataclass(frozen=True)
class How:
    """How products are made, in which format gradients are, and what draws where these are rounded by chance."""

    product: Product = promoted
    backward: Format = "e4m3"
    draws: torch.Generator | None = None


def in_eight_bits(inputs: Tensor, weight: Tensor, counts: Sequence[int], how: How) -> Tensor:
    """Of fp32 inputs [rows, inner], which are groups of so many neighbours, and weights [groups, outer, inner]: each
    group times its matrix transposed, [rows, outer]."""
    made: Tensor = _Grouped.apply(inputs, weight, counts, how)  # type: ignore[no-untyped-call]
    return made


class _Grouped(torch.autograd.Function):
    """The tiles of both matrices of a product lie along what it sums over. So what is summed over outputs takes the
    weights' blocks the other way; and what is summed over tokens takes activations as they are in eight bits, and tiles
    them anew (section 3.5.2)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, counts: Sequence[int], how: How) -> Tensor:
        left, right = by_row(inputs), by_block(weight)
        # bfloat16 holds numbers of eight bits exactly, and processors convert it quickly, which they do not torch's own
        # types of eight bits.
        ctx.save_for_backward(left.codes.bfloat16(), left.scales, right.codes.bfloat16(), right.scales)
        ctx.counts, ctx.how = counts, how
        return _by_groups(left, right, counts, how.product)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        [gradient] = gradients
        how: How = ctx.how
        codes, scales, codes_of_weight, scales_of_weight = ctx.saved_tensors
        left, right = Tiles(codes, scales, "e4m3"), Tiles(codes_of_weight.float(), scales_of_weight, "e4m3")
        by_token = by_row(gradient, how.backward, how.draws)
        of_inputs = _by_groups(by_token, right.transposed(), ctx.counts, how.product)
        by_output = by_row(_apart(gradient, ctx.counts).T.contiguous(), how.backward, how.draws)
        by_input = by_row(_apart(left.values(), ctx.counts).T.contiguous())
        spans = _spans(ctx.counts, TILE)
        of_weight = torch.stack([how.product(by_output.of_inner(some), by_input.of_inner(some)) for some in spans])
        return of_inputs, of_weight, None, None


def _by_groups(rows: Tiles, matrices: Tiles, counts: Sequence[int], product: Product) -> Tensor:
    parts = [product(rows.of_rows(some), matrices.of_rows(group)) for group, some in enumerate(_spans(counts))]
    return torch.cat(parts)


def _apart(values: Tensor, counts: Sequence[int]) -> Tensor:
    """Groups of rows with zeros behind each, so that all begin with a tile."""
    return torch.cat([F.pad(group, (0, 0, 0, -len(group) % TILE)) for group in torch.split(values, list(counts))])


def _spans(counts: Sequence[int], multiple: int = 1) -> list[slice]:
    """Where groups of so many begin and end, with what is behind them up to a multiple."""
    ends = accumulate((-(-count // multiple) * multiple for count in counts), initial=0)
    return [slice(*both) for both in pairwise(ends)]
