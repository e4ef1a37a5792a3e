"""Layers that torch.compile makes one program of, for as long as a model is trained (Ansel et al. 2024, PyTorch 2).

What a layer does between its products of matrices (norms, rotations, gates, residuals) goes through memory once and not
a dozen times, and less of it is kept for the backward.
"""

from collections.abc import Callable, Iterator
from typing import Any  # layers of transformers take and give what their families do

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from eval.language_model import LanguageModel
from pipeline.moe.routers import routers

Forward = Callable[..., Any]


class CompiledLayers:
    """Compiles a model's layers until `remove` is called.

    The program is made for any number of rows and tokens, since every micro-batch has others, and is the same whichever
    came first: a resumed training has the same bytes. In a layer with experts its attention and its norms are compiled
    alone: which rows an expert has is known only when the router has chosen, and what watches, replays or bounds that
    choice hangs on the modules inside. Forwards without gradients, of probes and rollouts, stay as they are.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._parts = list(parts(model))
        for part in self._parts:
            part.forward = _where_trained(part.forward)

    def remove(self) -> None:
        for part in self._parts:
            del part.forward


def parts(model: LanguageModel) -> Iterator[nn.Module]:
    """What is compiled: layers without a router, and of the others the modules without one."""
    choosing = {id(part) for router in routers(model) for part in (router.module, router.users)}
    for layer in model.modules():
        if not isinstance(layer, GradientCheckpointingLayer):
            continue
        within = [layer] if not _holds(layer, choosing) else layer.children()
        yield from (part for part in within if not _holds(part, choosing))


def _holds(part: nn.Module, choosing: set[int]) -> bool:
    return any(id(inner) in choosing for inner in part.modules())


def _where_trained(before: Forward) -> Forward:
    compiled = torch.compile(before, dynamic=True)

    def forward(*inputs: Any, **more: Any) -> Any:
        return compiled(*inputs, **more) if torch.is_grad_enabled() else before(*inputs, **more)

    return forward
