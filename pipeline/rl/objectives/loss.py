"""The arithmetic of policy-gradient objectives: pure functions on tensors, one idea each.

Shapes: `rows` are rollouts, `seq` the positions of their completions (prompts are not here). Ratios and what comes of
them are [rows, seq] where each token has its own and [rows, 1] where a sequence shares one. A `mask` [rows, seq] is 1
where a token was drawn by the policy and takes part in the loss.

Everything is a sum over tokens or sequences divided by a count of the whole optimizer step that the caller gives. Sums
can be split over micro-batches and over processes and give the same gradient; means of means cannot.
"""

import torch
from torch import Tensor


def token_ratios(logprobs: Tensor, old: Tensor) -> Tensor:
    """pi(token) / pi_old(token) of each token, [rows, seq], from log-probabilities of both policies, [rows, seq].

    PPO (Schulman et al. 2017, arXiv 1707.06347, section 3) and GRPO (arXiv 2402.03300, equation 3).
    """
    return torch.exp(logprobs - old)


def sequence_ratios(logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """s_i = (pi(y_i) / pi_old(y_i)) ** (1 / |y_i|) of each sequence, [rows, 1], from [rows, seq].

    GSPO (Zheng et al. 2025, arXiv 2507.18071, equation 7): the geometric mean of the token ratios. Its noise does not
    grow with the length, and one token whose expert changed between rollout and training moves it little.
    """
    mean = ((logprobs - old) * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1.0)
    return torch.exp(mean)


def answer_ratios(logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """pi(y_i) / pi_old(y_i) of each answer as a whole, [rows, 1], from [rows, seq]: the product of the token ratios.

    REINFORCE and RLOO (Ahmadian et al. 2024, arXiv 2402.14740, section 3), in which an answer is one action. At a ratio
    of 1 its gradient is the sum over the tokens; further away its noise grows with the length. Beyond e^20 it has the
    gradient of a bound: far beyond what any clip leaves, and before fp32 ends.
    """
    return torch.exp(((logprobs - old) * mask).sum(dim=1, keepdim=True).clamp(max=20.0))


def clipped_surrogate(ratios: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """-min(r A, clip(r, 1 - low, 1 + high) A) with the shape of `ratios`; `advantages` are [rows].

    PPO's pessimistic bound (arXiv 1707.06347, equation 7). `high` above `low` is DAPO's clip-higher (arXiv 2503.14476,
    equation 10), which leaves unlikely tokens room to grow. As a loss it has the sign turned.
    """
    gain = advantages.unsqueeze(1)  # [rows, 1]
    return -torch.min(ratios * gain, torch.clamp(ratios, 1 - low, 1 + high) * gain)


def weighted_logprobs(ratios: Tensor, logprobs: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """-sg(clip(r, 1 - low, 1 + high)) A log pi(token), [rows, seq], with `logprobs` [rows, seq] of the policy of now.

    CISPO (MiniMax-M1, arXiv 2506.13585, equation 4): REINFORCE weighed by importance. A token whose ratio was cut keeps
    a gradient, where PPO's bound takes it away; `sg` is that the weight itself has none.
    """
    weights = torch.clamp(ratios, 1 - low, 1 + high).detach()
    return -weights * advantages.unsqueeze(1) * logprobs


def clipped(ratios: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """Where `clipped_surrogate` has no gradient any more: True where the ratio has left the trust region in the
    direction that its advantage pushes it, with the shape of `ratios`."""
    gain = advantages.unsqueeze(1)  # [rows, 1]
    return ((ratios < 1 - low) & (gain < 0)) | ((ratios > 1 + high) & (gain > 0))


def kl_k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """log pi - log pi_ref of each drawn token, [rows, seq]: an unbiased estimate of KL(pi || pi_ref) that is often
    negative.

    Schulman, "Approximating KL divergence" (2020), estimator k1. As a loss term its own gradient is 0 on average;
    weighed by the ratio of the policy of now to the one that drew, as `objective.py` has it, its gradient is the
    divergence's, and more of noise than k3's.
    """
    return logprobs - reference


def kl_k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """exp(d) - d - 1 with d = log pi_ref - log pi, of each drawn token, [rows, seq]: never negative, and of low
    variance.

    Schulman 2020, estimator k3; GRPO's KL term (arXiv 2402.03300, equation 4).
    """
    difference = reference - logprobs
    return torch.exp(difference) - difference - 1


def sum_over_tokens(losses: Tensor, mask: Tensor, tokens: Tensor | float) -> Tensor:
    """The sum of token losses over `tokens`, the count of unmasked tokens of the whole step: a scalar.

    DAPO (arXiv 2503.14476, equation 8): every token weighs the same, so long answers are not taught more weakly than
    short ones. `losses` [rows, seq] or [rows, 1], which then counts once a token.
    """
    return (losses * mask).sum() / tokens


def sum_over_sequences(losses: Tensor, mask: Tensor, sequences: Tensor | float) -> Tensor:
    """The sum over rows of the mean loss of their tokens, over `sequences`, the count of rows of the whole step: a
    scalar.

    GSPO (arXiv 2507.18071, equation 5) with `losses` [rows, 1]; GRPO (arXiv 2402.03300, equation 3) with [rows, seq]. A
    row without a token in the loss adds nothing and still counts among the sequences.
    """
    per_row = (losses * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)  # [rows]
    return per_row.sum() / sequences


def truncated_importance(policy: Tensor, sampler: Tensor, mask: Tensor, most: float) -> Tensor:
    """min(pi_old(token) / pi_sampler(token), most) of each token, [rows, seq], without a gradient.

    What a token weighs where another program drew it, whose probabilities are not quite the policy's (vLLM): truncated
    importance sampling (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training",
    section "TIS"; Ionides 2008). The truncation bounds the variance and biases towards the sampler. `policy` and
    `sampler` are log-probabilities [rows, seq]; a NaN of the sampler counts as no difference.
    """
    difference = torch.nan_to_num((policy - sampler) * mask, nan=0.0)
    return torch.exp(difference).clamp(max=most).detach()
