"""What the routers of a model in training do, in a few figures, and a warning when experts collapse."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.disk.durable import JsonObject

MEMORY = 0.98  # of the load, a step: the figures are over about the last 50 steps
DEAD = 0.01  # of an even share
START = 8  # steps over which the load at the start is taken
LASTING = 60  # steps in a row before a collapse is told: a new model's routers take a while to find their balance
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
        self.collapsed = [0] * len(self.layers)
        self._untold: list[str] = []

    def see(self, load: Tensor, dropped: float, loss: float) -> None:
        """One optimizer step: load [layers, experts] in tokens, how many of the choices were dropped, and the auxiliary
        loss."""
        # A running sum and no mean: steps with more tokens count for more.
        self.load = self.load.to(load.device) * MEMORY + load
        self.choices = self.choices * MEMORY + float(load.sum())
        self.dropped = self.dropped * MEMORY + dropped
        self.steps, self.loss = self.steps + 1, loss
        # The first steps are noise; taken later it would be the balance that training has already made.
        if self.steps == START:
            self.first = self.max_over_mean()
        for place, row in enumerate(self._relative()):
            self.collapsed[place] = self.collapsed[place] + 1 if self._is_collapsed(row) else 0
            if self.collapsed[place] == LASTING:
                self._untold.append(self._told(self.layers[place], row))

    def max_over_mean(self) -> float | None:
        """The load of the busiest expert over the mean, for the worst layer (MaxVio of arXiv 2408.15664, plus 1); None
        before any."""
        if not self.steps or not len(self.layers):
            return None
        return float(self._relative().max())

    def figures(self) -> JsonObject:
        """For metrics.jsonl. `entropy` is that of the load, the worst layer's, as a share of the most possible; `dead`
        counts experts with less than a hundredth of an even share; `dropped` is the share of choices beyond capacity;
        `load` is relative to an even one, by layer and expert."""
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
            "moe/load": {
                str(layer): [round(share, 3) for share in row]
                for layer, row in zip(self.layers, relative.tolist(), strict=True)
            },
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
        """A line for every layer whose experts have been collapsed for so long, once; not again before they recover."""
        told, self._untold = self._untold, []
        return told

    def _told(self, layer: int, row: Tensor) -> str:
        return (f"experts collapse in layer {layer}: the busiest has {float(row.max()):.1f} times an even share (at "
                f"most {self.experts / self.top_k:.1f} is possible), {int((row < DEAD).sum())} of {self.experts} have "
                "next to none")

    def _is_collapsed(self, row: Tensor) -> bool:
        most = self.experts / self.top_k
        # Either many experts get nothing, or one gets nearly all that it can.
        alive = self.experts - int((row < DEAD).sum())
        return alive < FEW_LEFT * self.experts or (most > 1 and float(row.max()) - 1 > FEW_LEFT * (most - 1))

    def _relative(self) -> Tensor:
        """The load over an even one, [layers, experts]; an expert's even share is 1."""
        return self.load / self.load.mean(dim=1, keepdim=True).clamp(min=1e-12)

    def state(self) -> JsonObject:
        return {
            name: getattr(self, name) for name in ("load", "choices", "dropped", "steps", "loss", "first", "collapsed")
        }

    def restore(self, state: JsonObject) -> None:
        for name, value in state.items():
            setattr(self, name, value)
