"""Weights laid out for decoding: few rows at a time, the same matrices at every step."""

from typing import Any  # layers and norms of transformers, which differ by family

import torch
from torch import Tensor


def laid_out(weight: Tensor) -> bool:
    """Whether copies are made of weights that lie where this one does: not on GPUs, whose memory is short and whose
    libraries read a matrix either way."""
    return weight.device.type == "cpu"


class Projection:
    """One or several linear layers of the same input: their outputs side by side.

    On CPUs a copy as one matrix [in, out], made once a call of the engine. Decoding multiplies few rows: MKL takes 2 to
    5 times as long for 8 to 32 of them by a matrix that lies as torch keeps it, [out, in].

    `weights` are [out, in] each, `biases` [out] or None.
    """

    def __init__(self, weights: list[Tensor], biases: list[Tensor | None]) -> None:
        self.parts = (
            [torch.cat(weights).t().contiguous()] if laid_out(weights[0]) else [weight.t() for weight in weights]
        )
        self.bias: Tensor | None = None
        if any(bias is not None for bias in biases):
            self.bias = torch.cat([
                # Where one layer has a bias, the others beside it get one of zeros.
                weight.new_zeros(len(weight)) if bias is None else bias
                for weight, bias in zip(weights, biases, strict=True)
            ])

    @classmethod
    def of(cls, *linears: Any) -> "Projection":
        return cls([linear.weight for linear in linears], [linear.bias for linear in linears])

    def __call__(self, rows: Tensor) -> Tensor:
        """[n, in] -> [n, out]."""
        if len(self.parts) > 1:
            every = torch.cat([torch.mm(rows, part) for part in self.parts], dim=-1)
            return every if self.bias is None else every.add_(self.bias)
        (weight,) = self.parts
        return torch.mm(rows, weight) if self.bias is None else torch.addmm(self.bias, rows, weight)

    def onto(self, residual: Tensor, rows: Tensor) -> Tensor:
        """`residual` [n, out] plus the projection of `rows` [n, in], of a single layer."""
        (weight,) = self.parts
        total = torch.addmm(residual, rows, weight)
        return total if self.bias is None else total.add_(self.bias)


class Norm:
    """RMSNorm as transformers computes it, in half as many operations. `weight` may have several dimensions, of which
    the last is normed over."""

    def __init__(self, weight: Tensor, eps: float) -> None:
        self.weight, self.inverse = weight, 1.0 / weight.shape[-1]
        self.eps = torch.tensor(eps, device=weight.device)

    @classmethod
    def of(cls, module: Any) -> "Norm":
        return cls(module.weight, module.variance_epsilon)

    def _scale(self, wide: Tensor) -> Tensor:
        """What rows [.., width] are multiplied by, [.., 1]."""
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        return torch.addcmul(self.eps, length, length, value=self.inverse).rsqrt_()

    def __call__(self, rows: Tensor) -> Tensor:
        """[.., width] -> the same, normed."""
        wide = rows.float()
        normed = wide * self._scale(wide)
        if rows.dtype is torch.float32:
            return normed.mul_(self.weight)
        # In half precision the norm is computed in fp32 and rounded before it is weighed, as transformers does.
        return (normed.to(rows.dtype) * self.weight).to(rows.dtype)

    def inplace(self, rows: Tensor) -> None:
        """Norm `rows` [.., width] where they lie."""
        if rows.dtype is torch.float32:
            rows.mul_(self._scale(rows)).mul_(self.weight)
        else:
            rows.copy_(self(rows))


def rotate(rows: Tensor, turns: Tensor) -> None:
    """Rotary embedding where `rows` [n, heads, width] lie, pairs side by side, by complex `turns` [n, 1, width / 2]."""
    wide = rows.float()
    torch.view_as_complex(wide.view(*wide.shape[:-1], -1, 2)).mul_(turns)
    if rows.dtype is not torch.float32:
        rows.copy_(wide)


def side_by_side(part: Tensor, heads: int) -> Tensor:
    """Rows of a projection [heads * width, ..] reordered so that what is turned together lies side by side.

    transformers pairs dimension i of a head with i + width / 2; the product of queries and keys does not see an order
    that both share.
    """
    # [heads, first or second half, width / 2, ..]
    halves = part.view(heads, 2, -1, *part.shape[1:])
    return halves.transpose(1, 2).reshape(part.shape)
