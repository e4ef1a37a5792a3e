"""The experts that a Mixture of Experts took while rolling out, for training to take them again."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class ExpertRecorder:
    """Sees what the experts' modules of a model, one a MoE layer, are given: hidden states, chosen experts and their weights.

    Use it as a context, around forwards, and `take` after each.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = modules
        self._seen: list[Tensor] = []
        self._handles: list[Any] = []

    def __enter__(self) -> "ExpertRecorder":
        self._handles = [module.register_forward_pre_hook(self._see) for module in self.modules]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _see(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen.append(inputs[1])

    def take(self, rows: int, length: int) -> Tensor:
        """The experts of the last forward's tokens [rows, length], as int16 [rows, length, layers, top_k]."""
        taken = torch.stack(self._seen, dim=1).to(torch.int16)
        self._seen = []
        return taken.view(rows, length, *taken.shape[1:])
