"""What a GRPO step minimizes, made of the functions in `loss.py`. A further objective is a further branch here."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from pipeline.rl import loss
from pipeline.rl.batch import Batch

Ratios = Literal["token", "sequence"]

CLIPS: dict[Ratios, tuple[float, float]] = {
    "token": (0.2, 0.28),  # DAPO, arXiv 2503.14476, section 4.1
    "sequence": (3e-4, 4e-4),  # GSPO, arXiv 2507.18071, section 5.1: ratios of sequences hardly leave 1
}
MOST_IMPORTANCE = 2.0
"""The largest weight of a token that another program drew (the paper's, and verl's)."""


@dataclass(frozen=True)
class Counts:
    """What the sums of one optimizer step are divided by: tokens in the loss, and sequences.

    Of several processes each gets the step's counts divided by their number, since their gradients are averaged.
    """

    tokens: Tensor | float
    sequences: float


@dataclass(frozen=True)
class Objective:
    """The clipped surrogate with ratios of tokens, normalized over all tokens of a step (GRPO as DAPO has it), or with
    ratios of sequences, normalized over sequences (GSPO); and `beta` times the KL divergence from the reference.

    GSPO proper has no KL term; with `beta` above 0 its mean over a sequence's tokens is added, as GRPO has it.
    """

    ratios: Ratios = "token"
    clip: float = CLIPS["token"][0]
    clip_high: float = CLIPS["token"][1]
    beta: float = 0.0

    @classmethod
    def of(cls, ratios: Ratios, clip: float | None, clip_high: float | None, beta: float) -> "Objective":
        """The objective with the bounds of its paper where none are given."""
        low, high = CLIPS[ratios]
        return cls(ratios, clip or low, clip_high or high, beta)

    def loss(self, logprobs: Tensor, batch: Batch, counts: Counts) -> Tensor:
        """The share of these rows in the step's loss, a scalar; `logprobs` [rows, seq] are the policy's of now."""
        mask = batch.completion_mask
        if self.ratios == "token":
            ratios = loss.token_ratios(logprobs, batch.logprobs)
        else:
            ratios = loss.sequence_ratios(logprobs, batch.logprobs, mask)
        losses = loss.clipped_surrogate(ratios, batch.advantages, self.clip, self.clip_high)
        if batch.sampler_logprobs is not None:
            losses = losses * loss.truncated_importance(batch.logprobs, batch.sampler_logprobs, mask, MOST_IMPORTANCE)
        if batch.reference is not None:
            # Rollouts come from the old policy; weighed by the ratio, the mean is the divergence of the policy of now,
            # and so is its gradient (DeepSeek-V3.2, arXiv 2512.02556, section 3.1).
            divergence = loss.kl_k3(logprobs, batch.reference) * loss.token_ratios(logprobs, batch.logprobs)
            losses = losses + self.beta * divergence
        if self.ratios == "token":
            return loss.sum_over_tokens(losses, mask, counts.tokens)
        return loss.sum_over_sequences(losses, mask, counts.sequences)

    def moves(self, batch: Batch) -> Tensor:
        """Which rows, [moving], have a gradient: without a KL term those whose advantage is not zero, else all of
        them."""
        rows: Tensor = (batch.advantages != 0) | (batch.reference is not None)
        return rows.nonzero().flatten()
