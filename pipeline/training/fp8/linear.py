"""Linear layers whose forward and both of whose backward products are of eight bits (DeepSeek-V3, arXiv 2412.19437,
section 3.3; figure 6)."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any  # torch's context of a function has no type

import torch
from torch import Tensor, nn

from eval.language_model import LanguageModel
from pipeline.training.fp8.arithmetic import TILE, Accumulator, Format, product, quantized

ACTIVATIONS, WEIGHTS = (1, TILE), (TILE, TILE)


@dataclass(frozen=True)
class Eight:
    """How layers compute: the format of activations and weights, that of gradients, accumulators, and where
    gradients are rounded by chance what draws for that."""

    forward: Format = "e4m3"
    backward: Format = "e4m3"
    accumulator: Accumulator = field(default_factory=Accumulator)
    draws: torch.Generator | None = None


class _Linear(torch.autograd.Function):
    """Each product is of two matrices whose tiles lie along what is summed over: 1 x 128 of activations and of
    gradients, 128 x 128 of weights."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, eight: Eight) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.eight = eight
        left = quantized(inputs, ACTIVATIONS, eight.forward)
        return product(left, quantized(weight, WEIGHTS, eight.forward).T, eight.accumulator)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        [gradient] = gradients
        inputs, weight = ctx.saved_tensors
        eight: Eight = ctx.eight
        by_input = quantized(gradient, ACTIVATIONS, eight.backward, eight.draws)
        of_inputs = product(by_input, quantized(weight, WEIGHTS, eight.forward), eight.accumulator)
        # Of weights the sum is over tokens, and tiles are laid anew: 1 x 128 of the transposed matrices.
        by_token = quantized(gradient.T, ACTIVATIONS, eight.backward, eight.draws)
        tokens = quantized(inputs.T, ACTIVATIONS, eight.forward)
        return of_inputs, product(by_token, tokens.T, eight.accumulator), None


@contextlib.contextmanager
def in_eight_bits(model: LanguageModel, eight: Eight) -> Iterator[None]:
    """The model's linear layers compute so for as long as this lasts, but for the head; embeddings, norms, attention
    and routers, which are no linear layers or have to be exact, stay as they are, as in the paper (section 3.3.1).

    Experts that transformers fuses into one parameter are not reached, and stay in full precision.
    """
    head = model.get_output_embeddings()
    layers = [one for name, one in model.named_modules()
              if isinstance(one, nn.Linear) and one is not head and not name.endswith((".gate", ".router"))]
    for layer in layers:
        layer.forward = _computing(layer, eight)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _computing(layer: nn.Linear, eight: Eight) -> Any:
    def forward(inputs: Tensor) -> Tensor:
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        found: Tensor = _Linear.apply(rows, layer.weight, eight)  # type: ignore[no-untyped-call]
        whole = found.view(*inputs.shape[:-1], -1)
        return whole if layer.bias is None else whole + layer.bias

    return forward
