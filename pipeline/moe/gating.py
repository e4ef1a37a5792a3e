"""From router logits to the weights of chosen experts, as each family computes them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # recipes are read without torch
    from torch import Tensor

Score = Literal["softmax", "sigmoid", "softmax of the chosen"]
SOFTMAX: Score = "softmax"
SIGMOID: Score = "sigmoid"
CHOSEN: Score = "softmax of the chosen"


@dataclass(frozen=True)
class Gating:
    """How a router weighs its experts: the `score` of a logit, the chosen ones divided by their `norm` (None: left as
    they are), times `scale`."""

    score: Score
    norm: float | None
    scale: float

    def affinities(self, logits: "Tensor") -> "Tensor":
        """How much every token wants every expert, [.., tokens, experts]; sums to 1 over the experts.

        Sigmoid scores are divided by their sum, as DeepSeek-V3 does for its sequence-wise loss (eq. 19).
        """
        if self.score == SIGMOID:
            scores = logits.float().sigmoid()
            return scores / scores.sum(dim=-1, keepdim=True)
        # gpt-oss weighs the chosen alone; how much a token wants the others is known by the softmax over all.
        return logits.float().softmax(dim=-1)

    def weights(self, logits: "Tensor", chosen: "Tensor") -> "Tensor":
        """The weights that the family gives to `chosen` [tokens, top_k] at `logits` [tokens, experts]."""
        if self.score == CHOSEN:
            # A softmax in the model's own precision, as its router computes it.
            return logits.gather(-1, chosen).softmax(dim=-1)
        scores = logits.float().sigmoid() if self.score == SIGMOID else logits.float().softmax(dim=-1)
        weights = scores.gather(-1, chosen)
        if self.norm is not None:
            weights = weights / weights.norm(p=self.norm, dim=-1, keepdim=True)
        return weights * self.scale
