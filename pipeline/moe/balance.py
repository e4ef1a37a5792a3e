"""Keeping the load of experts even without an auxiliary loss, and telling how even it is."""

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.moe.routers import Router, routers


class Balance:
    """Counts tokens per expert, and moves DeepSeek-V3's selection bias against the load.

    After each optimizer step (DeepSeek-V3, arXiv 2412.19437, section 2.1.2): b_i += speed * sign(mean load - load_i).
    transformers holds the bias (`e_score_correction_bias`) but never moves it. Only forwards in training mode count,
    so that rollouts and probes do not; a model without routers is left alone.
    """

    def __init__(self, model: nn.Module, speed: float) -> None:
        self.speed = speed
        self.routers = routers(model)
        self.loads: dict[int, Tensor] = {}
        self.history: dict[int, Tensor] = {}
        self._handles = [router.module.register_forward_hook(self._counter(router)) for router in self.routers]

    def _counter(self, router: Router) -> Any:
        def count(module: nn.Module, _inputs: Any, output: Any) -> None:
            if module.training and torch.is_grad_enabled():
                load = torch.bincount(router.chosen(output).flatten(), minlength=router.experts)
                self.loads[router.layer] = self.loads.get(router.layer, torch.zeros_like(load)) + load

        return count

    @torch.no_grad()
    def step(self) -> None:
        """Move the biases by the load since the last step, and start counting anew."""
        for router in self.routers:
            if router.layer not in self.loads:
                continue
            load = self.loads.pop(router.layer).float()
            self.history[router.layer] = self.history.get(router.layer, torch.zeros_like(load)).mul_(0.98).add_(load)
            bias = dict(router.module.named_buffers(recurse=False)).get("e_score_correction_bias")
            if bias is not None and self.speed > 0:
                bias += self.speed * torch.sign(load.mean() - load)

    def max_over_mean(self) -> float | None:
        """The load of the busiest expert over the mean, for the worst layer, over about the last 50 steps."""
        if not self.history:
            return None
        return max(float(load.max() / load.mean()) for load in self.history.values())

    def state(self) -> dict[str, Any]:
        """What `max_over_mean` remembers; the biases are the model's."""
        return {"history": self.history}

    def restore(self, state: dict[str, Any]) -> None:
        self.history = state["history"]

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
