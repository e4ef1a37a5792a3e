"""Inverse-CDF sampling from per-rollout streams of uniform numbers."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

BLOCK = 256  # numbers made at once


def uniforms(seed: int, count: int) -> np.ndarray:
    """The first `count` uniform numbers in [0, 1) of the stream with this 64-bit seed, [count]."""
    # Philox is keyed: streams of neighbouring seeds have nothing in common.
    return np.random.Generator(np.random.Philox(key=seed)).random(count, dtype=np.float32)


def stream(seed: int) -> Iterator[float]:
    """The same stream without an end, one number at a time."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    while True:
        yield from generator.random(BLOCK, dtype=np.float32).tolist()


def draw(
    logits: Tensor, temperature: float, uniform: Tensor, top_p: float = 1.0, top_k: int = 0, min_p: float = 0.0
) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability, both [rows], from logits [rows, vocabulary] and uniform numbers [rows].

    With `top_p`, `top_k` or `min_p` (see `Sampling`) both are of the distribution over the tokens that these keep.

    The token is the first whose cumulative probability exceeds the row's number: one pass where
    `torch.multinomial` sorts, and the same token whatever else is in the batch.
    """
    if temperature == 0:
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        tokens = logprobs.argmax(dim=-1)
    else:
        scores = logits.float() if temperature == 1 else logits.float() / temperature
        logprobs = torch.log_softmax(scores, dim=-1)
        if 0 < top_k < logits.shape[-1]:
            # By scores and not by log-probabilities, here and below: two that differ may round to the same one.
            logprobs = _only(logprobs, scores >= scores.topk(top_k, dim=-1).values[:, -1:])
        if top_p < 1:
            logprobs = _nucleus(logprobs, scores, top_p)
        if min_p > 0:
            logprobs = _only(logprobs, logprobs >= logprobs.amax(dim=-1, keepdim=True) + math.log(min_p))
        cumulative = logprobs.exp().cumsum(dim=-1)  # [rows, vocabulary]
        # The last sum is 1 but for rounding; numbers are scaled to it, or one close to 1 could lie beyond it.
        target = (uniform * cumulative[:, -1]).unsqueeze(-1)  # [rows, 1]
        tokens = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
        tokens = tokens.clamp_(max=logits.shape[-1] - 1)
    return tokens, logprobs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def _only(logprobs: Tensor, kept: Tensor) -> Tensor:
    """The distribution over the tokens that are kept, [rows, vocabulary]."""
    return torch.log_softmax(logprobs.masked_fill(~kept, -torch.inf), dim=-1)


def _nucleus(logprobs: Tensor, scores: Tensor, top_p: float) -> Tensor:
    """The distribution over the fewest likeliest tokens whose probabilities reach `top_p`; all [rows, vocabulary]."""
    order = scores.argsort(dim=-1, descending=True, stable=True)
    ordered = logprobs.gather(-1, order)
    # The probability that lies before each token: the first one is kept whatever it has.
    before = ordered.exp().cumsum(dim=-1) - ordered.exp()
    ordered = ordered.masked_fill(before >= top_p, -torch.inf)
    kept = torch.empty_like(logprobs).scatter_(-1, order, ordered)
    return torch.log_softmax(kept, dim=-1)
