"""Expert capacity: what an expert takes at most of a batch."""

import math

import torch
from torch import Tensor


def capacity(tokens: int, experts: int, top_k: int, factor: float) -> int:
    """How many tokens an expert takes: `factor` times its share of an even load (Switch, arXiv 2101.03961, eq. 3)."""
    return math.ceil(factor * tokens * top_k / experts)


def fitting(chosen: Tensor, weights: Tensor, experts: int, factor: float, counts: Tensor | None = None) -> Tensor:
    """Which choices are within the capacity of their expert, for chosen and weights [tokens, top_k]: bool [tokens,
    top_k].

    Tokens come first by the rank of their choice, then by their place: everyone's first choice is served before
    anyone's second (GShard, arXiv 2006.16668, algorithm 1). Tokens where `counts` [tokens] is False, padding, take no
    place.
    """
    tokens, top_k = chosen.shape
    # First choices come before second ones, and earlier tokens before later ones (Switch, GShard).
    order = weights.argsort(dim=1, descending=True, stable=True)
    wanted = torch.nn.functional.one_hot(chosen.gather(1, order), experts).transpose(0, 1)  # [top_k, tokens, experts]
    real = tokens
    if counts is not None:
        wanted = wanted * counts[:, None]
        real = int(counts.sum())
    # How many choices stand before each one at its expert: a running count over ranks and then tokens.
    before = wanted.flatten(0, 1).cumsum(dim=0).view_as(wanted) - wanted
    place = (before * wanted).sum(dim=-1).transpose(0, 1)  # how many came before, [tokens, top_k] by rank
    fits = place < capacity(real, experts, top_k, factor)
    return torch.empty_like(fits).scatter_(1, order, fits)
