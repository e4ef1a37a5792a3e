"""What a GRPO step minimizes, made of the functions in `loss.py`; each named objective is a line of `FORMS`."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from pipeline.rl.batch import Batch
from pipeline.rl.objectives import loss
from pipeline.rl.objectives.advantages import Baseline, Scale

Ratios = Literal["token", "sequence", "answer"]
Over = Literal["tokens", "sequences", "longest"]
Name = Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "maxrl", "reinforce++", "rloo"]
Kl = Literal["k1", "k3"]

MOST_IMPORTANCE = 2.0
"""The largest weight of a token that another program drew (the paper's, and verl's)."""


@dataclass(frozen=True)
class Form:
    """What a named objective is made of.

    ratios    of tokens; their geometric mean over a sequence; or their product, that of the whole answer
    over      what the sum of losses is divided by: the tokens of the step; its sequences, after each was divided by its
              own length; or its sequences times the most tokens that one may have
    clip      how far a ratio may fall below 1 and rise above it before it is cut
    scale     what divides advantages (advantages.py)
    baseline  what is taken from rewards (advantages.py)
    detached  whether a cut ratio is a weight without a gradient (CISPO), in place of PPO's pessimistic bound
    """

    ratios: Ratios
    over: Over
    clip: tuple[float, float]
    scale: Scale
    baseline: Baseline = "group"
    detached: bool = False


FORMS: dict[Name, Form] = {
    # Shao et al. 2024, arXiv 2402.03300, equation 3.
    "grpo": Form("token", "sequences", (0.2, 0.2), "group"),
    # Liu et al. 2025, arXiv 2503.20783, section 3.2: neither the length nor the deviation of a group divides.
    "dr_grpo": Form("token", "longest", (0.2, 0.2), "none"),
    # Yu et al. 2025, arXiv 2503.14476, equation 8. Dynamic sampling and the overlong rule are fields of their own.
    "dapo": Form("token", "tokens", (0.2, 0.28), "group"),
    # Zheng et al. 2025, arXiv 2507.18071, equation 5 and section 5.1: ratios of sequences hardly leave 1.
    "gspo": Form("sequence", "sequences", (3e-4, 4e-4), "group"),
    # MiniMax-M1 2025, arXiv 2506.13585, equations 4 and 5. There is no bound below; the one above is not told there,
    # and is ScaleRL's (arXiv 2510.13786), as trl's.
    "cispo": Form("token", "tokens", (1.0, 4.0), "group", detached=True),
    # Tajwar et al. 2026, arXiv 2602.02710: the centred estimator. Its rewards are 0 or 1; ours are the rubric's.
    "maxrl": Form("token", "tokens", (0.2, 0.28), "mean"),
    # Hu et al. 2025, arXiv 2501.03262, the variant with the group's mean as its baseline, equations 10 and 11.
    "reinforce++": Form("token", "tokens", (0.2, 0.2), "advantages"),
    # Ahmadian et al. 2024, arXiv 2402.14740, equation 8: a whole answer is one action. The paper is on policy; with
    # several updates a round the ratio is clipped, as trl's RLOOTrainer does.
    "rloo": Form("answer", "sequences", (0.2, 0.2), "none", baseline="others"),
}


@dataclass(frozen=True)
class Counts:
    """What the sums of one optimizer step are divided by: tokens in the loss, and sequences.

    Of several processes each gets the step's counts divided by their number, since their gradients are averaged.
    """

    tokens: Tensor | float
    sequences: float


@dataclass(frozen=True)
class Objective:
    """A named objective with the bounds and scale of its paper where none are given, `beta` times the KL divergence
    from the reference, estimated by `kl`, and less `entropy_bonus` times the mean entropy of a token.

    `longest` is the most tokens of a completion. GSPO proper has no KL term; with `beta` above 0 its mean over a
    sequence's tokens is added, as GRPO has it.
    """

    name: Name = "dapo"
    clip_low: float | None = None
    clip_high: float | None = None
    beta: float = 0.0
    kl: Kl = "k3"
    scale_by: Scale | None = None
    longest: int = 1
    entropy_bonus: float = 0.0

    @property
    def form(self) -> Form:
        return FORMS[self.name]

    @property
    def clip(self) -> tuple[float, float]:
        low, high = self.form.clip
        return (low if self.clip_low is None else self.clip_low, high if self.clip_high is None else self.clip_high)

    @property
    def scale(self) -> Scale:
        return self.scale_by or self.form.scale

    def loss(self, logprobs: Tensor, batch: Batch, counts: Counts, entropies: Tensor | None = None) -> Tensor:
        """The share of these rows in the step's loss, a scalar; `logprobs` and `entropies` [rows, seq] are the policy's
        of now, of which an objective with an entropy bonus needs both."""
        found = self._surrogate(logprobs, batch, counts)
        if not self.entropy_bonus:
            return found
        assert entropies is not None
        # A mean over tokens whatever the objective divides by, so that the weight means the same for each of them (A3C,
        # Mnih et al. 2016, arXiv 1602.01783, section 4; as trl's entropy_coef).
        bonus = loss.sum_over_tokens(entropies, batch.drawn_mask, counts.tokens)
        return found - self.entropy_bonus * bonus

    def _surrogate(self, logprobs: Tensor, batch: Batch, counts: Counts) -> Tensor:
        """What makes answers likelier or less likely, with its divergence from the reference."""
        mask, batch = batch.drawn_mask, batch.drawn()
        if batch.forced is not None:
            logprobs = logprobs.masked_fill(batch.forced == 1, 0)
        ratios = self._ratios(logprobs, batch)
        if self.form.detached:
            losses = loss.weighted_logprobs(ratios, logprobs, batch.advantages, *self.clip)
        else:
            losses = loss.clipped_surrogate(ratios, batch.advantages, *self.clip)
        if batch.sampler_logprobs is not None:
            losses = losses * loss.truncated_importance(batch.logprobs, batch.sampler_logprobs, mask, MOST_IMPORTANCE)
        if batch.reference is not None:
            estimate = loss.kl_k1 if self.kl == "k1" else loss.kl_k3
            # Rollouts come from the old policy; weighed by the ratio, the mean is the divergence of the policy of now,
            # and so is its gradient (DeepSeek-V3.2, arXiv 2512.02556, section 3.1).
            divergence = estimate(logprobs, batch.reference) * loss.token_ratios(logprobs, batch.logprobs)
            losses = losses + self.beta * divergence
        return self.mean(losses, mask, counts)

    def mean(self, values: Tensor, mask: Tensor, counts: Counts) -> Tensor:
        """The share of these rows in the step's mean of values [rows, seq] of tokens, a scalar, as the objective takes
        it."""
        if self.form.over == "sequences":
            return loss.sum_over_sequences(values, mask, counts.sequences)
        return loss.sum_over_tokens(
            values, mask, counts.tokens if self.form.over == "tokens" else counts.sequences * self.longest
        )

    def _ratios(self, logprobs: Tensor, batch: Batch) -> Tensor:
        if self.form.ratios == "token":
            return loss.token_ratios(logprobs, batch.logprobs)
        of = loss.sequence_ratios if self.form.ratios == "sequence" else loss.answer_ratios
        return of(logprobs, batch.logprobs, batch.drawn_mask)

    def moves(self, batch: Batch) -> Tensor:
        """Which rows, [moving], have a gradient: with a KL term or an entropy bonus all of them, else those whose
        advantage is not zero."""
        rows: Tensor = (batch.advantages != 0) | (batch.reference is not None) | (self.entropy_bonus > 0)
        return rows.nonzero().flatten()
