"""What the routers of a model in training do, in a few figures, and a warning when experts collapse."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MEMORY = 0.98  # of the load, a step: the figures are over about the last 50 steps
DEAD = 0.01  # of an even share
START = 8  # steps over which the load at the start is taken
SETTLED = 20  # steps before there is a warning: a few batches say little
FEW_LEFT = 0.75  # of the most that one expert can get, or of the experts alive


class Watch:
    """The load of every expert in every MoE layer (`layers` are their numbers), over about the last 50 steps.

    Of `experts` experts every token takes `top_k`; at most, then, one expert has experts / top_k times its even share.
    """

    def __init__(self, layers: Sequence[int], experts: int, top_k: int) -> None:
        self.layers, self.experts, self.top_k = list(layers), experts, top_k
        self.load = torch.zeros(len(self.layers), experts)
        self.choices = self.dropped = 0.0
        self.steps = 0
        self.loss = 0.0
        self.first: float | None = None
        self.warned: list[int] = []

    def see(self, load: Tensor, dropped: float, loss: float) -> None:
        """One optimizer step: load [layers, experts] in tokens, how many of the choices were dropped, and the auxiliary loss."""
        self.load = self.load.to(load.device) * MEMORY + load
        self.choices = self.choices * MEMORY + float(load.sum())
        self.dropped = self.dropped * MEMORY + dropped
        self.steps, self.loss = self.steps + 1, loss
        if self.steps == START:
            self.first = self.max_over_mean()

    def max_over_mean(self) -> float | None:
        """The load of the busiest expert over the mean, for the worst layer (MaxVio of arXiv 2408.15664, plus 1); None before any."""
        if not self.steps or not len(self.layers):
            return None
        return float(self._relative().max())

    def figures(self) -> dict[str, Any]:
        """For metrics.jsonl. `entropy` is that of the load, the worst layer's, as a share of the most possible; `dead` counts experts
        with less than a hundredth of an even share; `dropped` is the share of choices beyond capacity; `load` is relative to
        an even one, by layer and expert."""
        worst = self.max_over_mean()
        if worst is None:
            return {}
        relative = self._relative()
        shares = relative / self.experts
        entropy = -(shares * shares.clamp(min=1e-12).log()).sum(dim=1) / math.log(self.experts)
        return {
            "moe/max_over_mean": worst,
            "moe/entropy": float(entropy.min()),
            "moe/dead": int((relative < DEAD).sum()),
            "moe/dropped": self.dropped / max(1.0, self.choices),
            "moe/loss": self.loss,
            "moe/load": {str(layer): [round(share, 3) for share in row] for layer, row in zip(self.layers, relative.tolist(), strict=True)},
        }

    def summary(self) -> dict[str, float]:
        """For the stage's metrics: the load of the busiest expert over the mean, at the start and at the end."""
        worst = self.max_over_mean()
        if worst is None:
            return {}
        start = {} if self.first is None else {"expert_load_max_over_mean_at_start": self.first}
        return {**start, "expert_load_max_over_mean": worst}

    def shown(self) -> dict[str, float]:
        """For the terminal's line."""
        worst = self.max_over_mean()
        if worst is None:
            return {}
        dead = int((self._relative() < DEAD).sum())
        return {"load": worst, **({"dead": dead} if dead else {})}

    def warnings(self) -> list[str]:
        """A line for every layer whose experts have collapsed; each layer is told once."""
        told: list[str] = []
        if self.steps < SETTLED:
            return told
        for layer, row in zip(self.layers, self._relative(), strict=True):
            dead, busiest = int((row < DEAD).sum()), float(row.max())
            most = self.experts / self.top_k
            collapsed = self.experts - dead < FEW_LEFT * self.experts or (most > 1 and busiest - 1 > FEW_LEFT * (most - 1))
            if collapsed and layer not in self.warned:
                self.warned.append(layer)
                told.append(
                    f"experts collapse in layer {layer}: the busiest has {busiest:.1f} times an even share "
                    f"(at most {most:.1f} is possible), {dead} of {self.experts} have next to none"
                )
        return told

    def _relative(self) -> Tensor:
        """The load over an even one, [layers, experts]; an expert's even share is 1."""
        return self.load / self.load.mean(dim=1, keepdim=True).clamp(min=1e-12)

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("load", "choices", "dropped", "steps", "loss", "first", "warned")}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
