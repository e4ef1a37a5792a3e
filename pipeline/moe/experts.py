"""Experts in the precision that a forward is computed in.

Autocast passes over torch's `grouped_mm` (pytorch #174763), by which transformers computes a layer's experts: with
weights in full precision experts, which are most of a mixture, would be computed in that, and all around them in
bfloat16.
"""

import torch
from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, grouped_mm_experts_forward

IMPLEMENTATION = "grouped_mm_autocast"
"""What transformers knows them by (`set_experts_implementation`)."""

ALIGNED = 8
"""What widths divide by, that `grouped_mm` takes in sixteen bits: its rows begin at multiples of 16 bytes."""


class _InPrecision:
    """A layer's experts, whose weights and biases are read in another precision."""

    def __init__(self, experts: nn.Module, dtype: torch.dtype) -> None:
        self._experts, self._dtype = experts, dtype

    def __getattr__(self, name: str) -> object:
        value = getattr(self._experts, name)
        return value.to(self._dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def forward(experts: nn.Module, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """What a layer's experts make of hidden states [tokens, hidden], of which each token has `chosen` ones with these
    `weights`, both [tokens, top_k]: [tokens, hidden]. Under autocast in its precision, where their widths allow it."""
    found: Tensor = grouped_mm_experts_forward(_in_autocast(experts, hidden.device.type), hidden, chosen, weights)
    return found


def _in_autocast(experts: nn.Module, device: str) -> nn.Module | _InPrecision:
    if not torch.is_autocast_enabled(device):
        return experts
    dtype, down = torch.get_autocast_dtype(device), experts.down_proj  # [experts, hidden, width], or transposed
    assert isinstance(down, Tensor)
    fits = not any(size % ALIGNED for size in down.shape[1:])
    return _InPrecision(experts, dtype) if fits and down.dtype != dtype else experts


ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, forward)
