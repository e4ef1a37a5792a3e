"""Weights laid out for decoding: few rows at a time, the same matrices at every step."""

from typing import Any  # layers and norms of transformers, which differ by family

import torch
from torch import Tensor


def laid_out(weight: Tensor) -> bool:
    """Whether copies are made of weights that lie where this one does: not on GPUs, whose memory is short and whose
    libraries read a matrix either way."""
    return weight.device.type == "cpu"


def packable(weight: Tensor) -> bool:
    """Whether oneDNN multiplies by packed weights like this one: on CPUs, in fp32 and, where the processor has what it
    takes for it (AVX-512), in bfloat16."""
    if not laid_out(weight) or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if weight.dtype is torch.float32:
        return True
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return weight.dtype is torch.bfloat16 and supported


ROWS = 32  # rows that weights are packed for; any number may come
LARGE = 2**17
"""Weights of a matrix from which it is packed: a call of oneDNN costs 10 microseconds more than one of MKL, which in
small matrices is more than it spares."""


class Packed:
    """A matrix as oneDNN wants it, for multiplications by few rows and many.

    On two cores with AVX-512 (hidden size 576) it takes half of MKL's time for 8 to 32 rows in fp32 and 0.7 of it for
    128, and in bfloat16 0.7 of the time of a matrix that is packed anew for every multiplication. The operators are
    those that torch.compile writes when it freezes a model; torch has no public name for them.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """`weight` is [out, in], `bias` [out]."""
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)
        self.bias = bias

    def __call__(self, rows: Tensor) -> Tensor:
        """[n, in] -> [n, out]."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return found

    def onto(self, residual: Tensor, rows: Tensor) -> Tensor:
        """`residual` [n, out] plus the product of `rows` [n, in]."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, residual, self.weight, self.bias, "add")
        return found


class Plain:
    """A matrix where it lies, or a copy of it as [in, out]: MKL takes 2 to 5 times as long for 8 to 32 rows by a matrix
    that lies as torch keeps it, [out, in]."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight.t().contiguous() if laid_out(weight) else weight.t()
        self.bias = bias

    def __call__(self, rows: Tensor) -> Tensor:
        return torch.mm(rows, self.weight) if self.bias is None else torch.addmm(self.bias, rows, self.weight)

    def onto(self, residual: Tensor, rows: Tensor) -> Tensor:
        total = torch.addmm(residual, rows, self.weight)
        return total if self.bias is None else total.add_(self.bias)


def matrix(weight: Tensor, bias: Tensor | None = None) -> "Packed | Plain":
    """A linear layer of weight [out, in] and bias [out], laid out as it is multiplied fastest here."""
    return Packed(weight, bias) if weight.numel() >= LARGE and packable(weight) else Plain(weight, bias)


class Projection:
    """One or several linear layers of the same input: their outputs side by side.

    On CPUs a copy as one matrix, made once a call of the engine. `weights` are [out, in] each, `biases` [out] or None.
    """

    def __init__(self, weights: list[Tensor], biases: list[Tensor | None]) -> None:
        if laid_out(weights[0]):
            self.parts = [matrix(torch.cat(weights), _side_by_side(weights, biases))]
        else:
            self.parts = [matrix(weight, bias) for weight, bias in zip(weights, biases, strict=True)]

    @classmethod
    def of(cls, *linears: Any) -> "Projection":
        return cls([linear.weight for linear in linears], [linear.bias for linear in linears])

    def __call__(self, rows: Tensor) -> Tensor:
        """[n, in] -> [n, out]."""
        every = [part(rows) for part in self.parts]
        return every[0] if len(every) == 1 else torch.cat(every, dim=-1)

    def onto(self, residual: Tensor, rows: Tensor) -> Tensor:
        """`residual` [n, out] plus the projection of `rows` [n, in], of a single layer."""
        (part,) = self.parts
        return part.onto(residual, rows)


def _side_by_side(weights: list[Tensor], biases: list[Tensor | None]) -> Tensor | None:
    """The biases of layers whose outputs lie side by side; where one has a bias, the others get one of zeros."""
    if all(bias is None for bias in biases):
        return None
    return torch.cat([
        weight.new_zeros(len(weight)) if bias is None else bias for weight, bias in zip(weights, biases, strict=True)
    ])


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
