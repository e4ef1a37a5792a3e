"""Auxiliary losses that keep experts in even use, by the papers' equations.

All take what the routers of a model did with the same tokens, layers stacked, and return one number a layer, [layers].
Padding is no token. Where a paper has one expert a token, the share of an expert counts all of a token's choices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.moe.balancing import Balancing
from pipeline.moe.gating import Gating


@dataclass(frozen=True)
class Routed:
    """What all routers did with `tokens` tokens of some sequences.

    logits [layers, tokens, experts]; chosen and weights [layers, tokens, top_k]; sequence [tokens], the number of the
    sequence that a token is of, counted from 0.
    """

    logits: Tensor
    chosen: Tensor
    weights: Tensor
    sequence: Tensor
    gating: Gating

    @property
    def experts(self) -> int:
        return self.logits.shape[-1]

    def load(self) -> Tensor:
        """How many tokens chose each expert, [layers, experts]."""
        return per_expert(
            self.chosen.flatten(1), torch.ones_like(self.chosen, dtype=torch.float32).flatten(1), self.experts
        )


def per_expert(chosen: Tensor, values: Tensor, experts: int) -> Tensor:
    """The sum of `values` over the choices of each expert: chosen and values [layers, choices] -> [layers, experts]."""
    return values.new_zeros(len(chosen), experts).scatter_add(1, chosen, values)


def importance(routed: Routed) -> Tensor:
    """The squared coefficient of variation of the experts' importance, the sum of their gates over the batch.

    Shazeer et al. 2017 (arXiv 1701.06538), eq. 6 and 7: CV(Importance(X))^2.
    """
    return _variation(per_expert(routed.chosen.flatten(1), routed.weights.float().flatten(1), routed.experts))


def smooth_load(routed: Routed, noise: float) -> Tensor:
    """The squared coefficient of variation of a smooth estimate of the experts' load.

    Shazeer et al. 2017 (arXiv 1701.06538), appendix A, eq. 8 to 11: the load of an expert is the sum over tokens of the
    chance that it would be among the top_k if noise were drawn anew for its logit alone. In the paper a router draws
    such noise, of a size that it learns. The routers of the families here draw none: the others' logits stand as they
    are, who is chosen does not change, and `noise`, one standard deviation for all, is what the recipe names, as in
    V-MoE (Riquelme et al. 2021, arXiv 2106.05974, which takes 1 / experts). All of the estimate has a gradient, where
    in `load` the counts have none.
    """
    logits, top_k = routed.logits.float(), routed.chosen.shape[-1]
    highest = logits.topk(top_k + 1, dim=-1)
    is_in = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, highest.indices[..., :-1], True)
    # The top_k-th greatest of the other logits, which an expert must surpass (eq. 9).
    to_surpass = torch.where(is_in, highest.values[..., -1:], highest.values[..., -2:-1])
    return _variation(torch.special.ndtr((logits - to_surpass) / noise).sum(dim=1))


def _variation(totals: Tensor) -> Tensor:
    """The squared coefficient of variation over experts, of totals [layers, experts]."""
    return totals.var(dim=1, correction=0) / totals.mean(dim=1).square()


def load(routed: Routed) -> Tensor:
    """The load-balancing loss: experts * sum_i f_i P_i, with f_i the share of tokens that chose expert i, P_i its mean
    probability.

    Switch Transformers (arXiv 2101.03961), eq. 4 to 6; with top_k choices the f_i add up to top_k, as in Mixtral's.
    Even load gives top_k. transformers pools the layers before it multiplies, so that one layer can make up for
    another; here each is by itself.

    Grok-1 (top_k 2 of 8 experts, gates as the softmax over all leaves them) is balanced by it in its ports to PyTorch,
    with Mixtral's weight of 0.001. What xAI trained it with is not public: its released code is of inference alone, and
    returns 0 where a router's loss would be.
    """
    tokens = routed.logits.shape[1]
    # f_i is a count and has no gradient; what moves the router is P_i.
    shares = routed.load() / tokens
    return routed.experts * (shares * routed.gating.affinities(routed.logits).mean(dim=1)).sum(dim=1)


def z(routed: Routed) -> Tensor:
    """The mean squared log of the sum of exponentials of the logits: keeps them small (ST-MoE, arXiv 2202.08906, eq.
    5)."""
    return routed.logits.float().logsumexp(dim=-1).square().mean(dim=1)


def sequence(routed: Routed) -> Tensor:
    """The sequence-wise balance loss: sum_i f_i P_i within each sequence, and the mean over sequences.

    DeepSeek-V3 (arXiv 2412.19437), eq. 17 to 20, which with softmax is the expert-level loss of DeepSeek-V2 (arXiv
    2405.04434), eq. 23 to 25: f_i = experts / (top_k T) times the choices of expert i among T tokens, P_i its mean
    affinity. Even load gives 1.
    """
    shares, affinities = _by_sequence(routed)
    return (shares * affinities).sum(dim=-1).mean(dim=1)


def device(routed: Routed, devices: int) -> Tensor:
    """The device-level balance loss of DeepSeek-V2 (eq. 26 to 28): as `sequence`, with the mean f_i and the sum of the
    P_i of the neighbouring experts that one of `devices` devices holds."""
    shares, affinities = (_by_device(part, devices) for part in _by_sequence(routed))
    return (shares.mean(dim=-1) * affinities.sum(dim=-1)).sum(dim=-1).mean(dim=1)


def communication(routed: Routed, devices: int, most: int) -> Tensor:
    """The communication balance loss of DeepSeek-V2 (eq. 29 to 31), which keeps even how many tokens a device receives.

    As `device`, with f_i = devices / (most T) times the tokens that are sent to device i among T tokens: a token is
    sent there once, however many of the device's experts it chose, and to at most `most` devices. Where every token is
    sent to so many, even load gives 1. No stage here splits experts over devices; the loss makes routers ready for it.
    """
    counts, affinities = _by_sequence(routed)
    layers, sequences, experts = counts.shape
    sent = torch.nn.functional.one_hot(routed.chosen // (experts // devices), devices).amax(dim=2).float()
    received = sent.new_zeros(layers, sequences, devices).index_add(1, routed.sequence, sent)
    shares = received * devices / (most * _lengths(routed))
    return (shares * _by_device(affinities, devices).sum(dim=-1)).sum(dim=-1).mean(dim=1)


def weighted(balancing: Balancing, most: int) -> list[tuple[float, Callable[[Routed], Tensor]]]:
    """The losses that `balancing` has, each with its weight; `most` is to how many devices a token is sent at most."""
    every: dict[str, Callable[[Routed], Tensor]] = {
        "importance": importance, "load": load, "z": z, "sequence": sequence,
        # The settings of these are there where their weights are.
        "smooth_load": partial(smooth_load, noise=balancing.noise or 1.0),
        "device": partial(device, devices=balancing.devices or 1),
        "communication": partial(communication, devices=balancing.devices or 1, most=most),
    }
    return [(weight, loss) for name, loss in every.items() if (weight := getattr(balancing, name))]


def _by_sequence(routed: Routed) -> tuple[Tensor, Tensor]:
    """(f, P) of DeepSeek's losses, both [layers, sequences, experts]."""
    layers, _, experts = routed.logits.shape
    top_k = routed.chosen.shape[-1]
    lengths = _lengths(routed)
    sequences = len(lengths)
    # An expert of a sequence is a place of its own, so that one sum counts all sequences.
    places = (routed.sequence[:, None] * experts + routed.chosen).flatten(1)
    counts = per_expert(
        places, torch.ones_like(places, dtype=torch.float32), sequences * experts
    ).view(layers, sequences, experts)
    sums = routed.logits.new_zeros(layers, sequences, experts, dtype=torch.float32)
    sums = sums.index_add(1, routed.sequence, routed.gating.affinities(routed.logits))
    return counts * experts / (top_k * lengths), sums / lengths


def _lengths(routed: Routed) -> Tensor:
    """The number of tokens of every sequence, [sequences, 1]."""
    return torch.bincount(routed.sequence).float()[:, None]


def _by_device(values: Tensor, devices: int) -> Tensor:
    """Values [layers, sequences, experts] as [layers, sequences, devices, experts of one device]."""
    return values.view(*values.shape[:-1], devices, -1)
