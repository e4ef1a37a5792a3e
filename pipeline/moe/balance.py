"""Keeping the load of experts even without an auxiliary loss, and telling how even it is."""

from typing import Any

import torch
from torch import Tensor

from pipeline.moe.routers import Router, Routing, routers
from pipeline.stage import StageError

SPEED = 1e-3
"""DeepSeek-V3's gamma, for the families whose routers have a bias to move."""


class Balance:
    """Counts tokens per expert, and moves DeepSeek-V3's selection bias against the load.

    After each optimizer step (DeepSeek-V3, arXiv 2412.19437, section 2.1.2): b_i += speed * sign(mean load - load_i), with the
    load of all processes. transformers holds the bias (`e_score_correction_bias`) but never moves it. Only forwards in training
    mode count, so that rollouts and probes do not; a model without routers is left alone.

    `speed` None is SPEED where there is a bias and 0 elsewhere. Raises StageError for a speed that has no bias to move.
    """

    def __init__(self, model: Any, speed: float | None) -> None:
        self.routers = routers(model)
        movable = [router for router in self.routers if router.bias is not None]
        if speed and self.routers and not movable:
            family = model.config.model_type
            raise StageError(f"balance_speed: {family} routers have no selection bias to move; leave it out, or set it to 0")
        self.speed = (SPEED if movable else 0.0) if speed is None else speed
        self.loads: dict[int, Tensor] = {}
        self.history: dict[int, Tensor] = {}
        self._handles = [handle for router in self.routers for handle in router.watch(self._counter(router))]

    def _counter(self, router: Router) -> Any:
        def count(routing: Routing) -> None:
            if router.module.training and torch.is_grad_enabled():
                load = torch.bincount(routing.chosen.flatten(), minlength=router.experts)
                self.loads[router.layer] = self.loads.get(router.layer, torch.zeros_like(load)) + load

        return count

    @torch.no_grad()
    def step(self) -> None:
        """Move the biases by the load since the last step, and start counting anew."""
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        for router in self.routers:
            if router.layer not in self.loads:
                continue
            load = self.loads.pop(router.layer).float()
            if distributed:
                torch.distributed.all_reduce(load)
            self.history[router.layer] = self.history.get(router.layer, torch.zeros_like(load)).mul_(0.98).add_(load)
            bias = router.bias
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
