"""The experts that a Mixture of Experts took while rolling out, for training to take them again."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


class ExpertRecorder:
    """Is shown the experts chosen in each MoE layer of a forward, in their order, and gives them as one tensor."""

    def __init__(self) -> None:
        self._seen: list[Tensor] = []

    def see(self, chosen: Tensor) -> None:
        """The choices of the next layer, [tokens, top_k]."""
        self._seen.append(chosen)

    @contextlib.contextmanager
    def watching(self, experts: Sequence[nn.Module]) -> Iterator[None]:
        """See the choices that these modules are given (hidden states, chosen experts, their weights) as long as the
        block lasts."""
        handles = [module.register_forward_pre_hook(lambda _module, inputs: self.see(inputs[1])) for module in experts]
        yield
        for handle in handles:
            handle.remove()

    def take(self, rows: int, length: int) -> Tensor:
        """The experts of the last forward's tokens [rows, length], as int16 [rows, length, layers, top_k]."""
        # [tokens, layers, top_k]; int16, since these stay with every rollout and no model has 32,768 experts
        taken = torch.stack(self._seen, dim=1).to(torch.int16)
        self._seen = []
        return taken.view(rows, length, *taken.shape[1:])
