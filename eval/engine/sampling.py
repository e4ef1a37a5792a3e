"""Inverse-CDF sampling from per-rollout streams of uniform numbers."""

import numpy as np
import torch
from torch import Tensor


def uniforms(seed: int, count: int) -> np.ndarray:
    """The first `count` uniform numbers in [0, 1) of the stream with this 64-bit seed."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count, dtype=np.float32)


def draw(logits: Tensor, temperature: float, uniform: Tensor, top_p: float = 1.0) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability, from logits [rows, vocabulary] and uniform numbers [rows].

    With `top_p` below 1 both are of the distribution over the nucleus alone.

    The token is the first whose cumulative probability exceeds the row's number: one pass where
    `torch.multinomial` sorts, and the same token whatever else is in the batch.
    """
    if temperature == 0:
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        tokens = logprobs.argmax(dim=-1)
    else:
        logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
        if top_p < 1:
            logprobs = _nucleus(logprobs, top_p)
        cumulative = logprobs.exp().cumsum(dim=-1)
        target = (uniform * cumulative[:, -1]).unsqueeze(-1)
        tokens = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
        tokens = tokens.clamp_(max=logits.shape[-1] - 1)
    return tokens, logprobs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def _nucleus(logprobs: Tensor, top_p: float) -> Tensor:
    """The distribution over the fewest likeliest tokens whose probabilities reach `top_p`, [rows, vocabulary]."""
    ordered, order = logprobs.sort(dim=-1, descending=True, stable=True)
    before = ordered.exp().cumsum(dim=-1) - ordered.exp()
    ordered = ordered.masked_fill(before >= top_p, -torch.inf)
    kept = torch.empty_like(logprobs).scatter_(-1, order, ordered)
    return torch.log_softmax(kept, dim=-1)
