"""Inverse-CDF sampling from per-rollout streams of uniform numbers."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from eval.errors import NumbersError
from eval.language_model import LanguageModel

BLOCK = 256  # numbers made at once
TOKENS = 128  # of the vocabulary, whose probabilities are added up first
FEW = 1024  # tokens of a vocabulary that is gone through at once


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

    The token is the first whose cumulative probability exceeds the row's number, and the same whatever else is in the
    batch; `torch.multinomial` draws from one stream for all rows.
    """
    scores = logits.float() if temperature in (0, 1) else logits.float() / temperature
    if temperature == 0:
        tokens = scores.argmax(dim=-1)
        return tokens, _at(scores, tokens) - scores.logsumexp(dim=-1)
    if logits.shape[-1] > FEW and not (top_p < 1 or min_p > 0 or 0 < top_k < logits.shape[-1]):
        probabilities = scores.softmax(dim=-1)
        tokens = _exceeding(probabilities, uniform)
        # log softmax of the token alone: the likeliest one's score and probability tell what all were divided by.
        divisor = scores.amax(dim=-1) - probabilities.amax(dim=-1).log()
        return tokens, _at(scores, tokens) - divisor
    logprobs = torch.log_softmax(scores, dim=-1)
    if 0 < top_k < logits.shape[-1]:
        # By scores and not by log-probabilities, here and below: two that differ may round to the same one.
        logprobs = _only(logprobs, scores >= scores.topk(top_k, dim=-1).values[:, -1:])
    if top_p < 1:
        logprobs = _nucleus(logprobs, scores, top_p)
    if min_p > 0:
        logprobs = _only(logprobs, logprobs >= logprobs.amax(dim=-1, keepdim=True) + math.log(min_p))
    tokens = _exceeding(logprobs.exp(), uniform)
    return tokens, _at(logprobs, tokens)


def require_numbers(logprobs: Sequence[float], model: LanguageModel) -> None:
    """Raises NumbersError where a log-probability that the model gave what was drawn is no number. Of such a model the
    vocabulary's last token would be drawn, again and again, and be graded as an answer."""
    if math.isnan(sum(logprobs)):  # one sum for all rows of a step
        raise NumbersError(
            f"the model {model.config.name_or_path or model.config.model_type} computes NaN, which is no number, so "
            f"that nothing can be drawn from it: its training went astray, or its numbers are too large for "
            f"{str(model.dtype).removeprefix('torch.')}; take a model from before that, train it with a lower "
            "learning_rate, or give it another dtype"
        )


def _at(values: Tensor, tokens: Tensor) -> Tensor:
    """Of values [rows, vocabulary] those of tokens [rows]."""
    return values.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def _exceeding(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The first token of each row whose cumulative probability exceeds the row's number, [rows].

    First the block of tokens that it lies in, by the blocks' sums, then the token within: cumulative sums are slow. Of
    a vocabulary of 49,152 a token for each of 32 rows was drawn in 7.6 ms by one over all of it, and is in 1.1.
    """
    size = probabilities.shape[1]
    if size <= FEW:
        reached = probabilities.cumsum(dim=-1)
        # Numbers are scaled to the last sum, as below.
        tokens = torch.searchsorted(reached, uniform.unsqueeze(-1) * reached[:, -1:], right=True).squeeze(-1)
        return tokens.clamp_(max=size - 1)
    whole = size // TOKENS * TOKENS
    sums = probabilities[:, :whole].view(len(probabilities), -1, TOKENS).sum(dim=-1)  # [rows, blocks]
    if whole < size:
        sums = torch.cat([sums, probabilities[:, whole:].sum(dim=-1, keepdim=True)], dim=-1)
    ends = sums.cumsum(dim=-1)
    # The last sum is 1 but for rounding; numbers are scaled to it, or one close to 1 could lie beyond it.
    target = uniform.unsqueeze(-1) * ends[:, -1:]  # [rows, 1]
    block = torch.searchsorted(ends, target, right=True).clamp_(max=ends.shape[1] - 1)
    before = ends.gather(-1, (block - 1).clamp_(min=0)).masked_fill_(block == 0, 0.0)
    places = block * TOKENS + torch.arange(TOKENS, device=block.device)  # [rows, tokens of a block]
    inside = probabilities.gather(-1, places.clamp(max=size - 1)).masked_fill_(places >= size, 0.0)
    reached = inside.cumsum(dim=-1)
    exceeding = (reached <= target - before).sum(dim=-1, keepdim=True)
    # The block's sum and its cumulative one are rounded differently; its last possible token is the furthest drawn.
    furthest = (reached < reached[:, -1:]).sum(dim=-1, keepdim=True)
    return (block * TOKENS + torch.minimum(exceeding, furthest)).squeeze(-1)


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
