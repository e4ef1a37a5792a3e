"""Inverse-CDF sampling from per-rollout streams of uniform numbers."""

import numpy as np
import torch
from torch import Tensor


def uniforms(seed: int, count: int) -> np.ndarray:
    """The first `count` uniform numbers in [0, 1) of the stream with this 64-bit seed."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count, dtype=np.float32)


def draw(logits: Tensor, temperature: float, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability, from logits [rows, vocabulary] and uniform numbers [rows].

    The token is the first whose cumulative probability exceeds the row's number: one pass where
    `torch.multinomial` sorts, and the same token whatever else is in the batch.
    """
    if temperature == 0:
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        tokens = logprobs.argmax(dim=-1)
    else:
        logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
        cumulative = logprobs.exp().cumsum(dim=-1)
        target = (uniform * cumulative[:, -1]).unsqueeze(-1)
        tokens = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
        tokens = tokens.clamp_(max=logits.shape[-1] - 1)
    return tokens, logprobs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
