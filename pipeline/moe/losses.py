"""Auxiliary losses that keep experts in even use, by the papers' equations.

All take what the routers of a model did with the same tokens, layers stacked, and return one number a layer, [layers].
Padding is no token. Where a paper has one expert a token, the share of an expert counts all of a token's choices.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

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

    Shazeer et al. 2017 (arXiv 1701.06538), eq. 6 and 7: CV(Importance(X))^2. Their second loss, on a smooth estimate of
    the load (eq. 11), is left out: it needs the noise of their gate, which no family here has.
    """
    gates = per_expert(routed.chosen.flatten(1), routed.weights.float().flatten(1), routed.experts)
    return gates.var(dim=1, correction=0) / gates.mean(dim=1).square()


def load(routed: Routed) -> Tensor:
    """The load-balancing loss: experts * sum_i f_i P_i, with f_i the share of tokens that chose expert i, P_i its mean
    probability.

    Switch Transformers (arXiv 2101.03961), eq. 4 to 6; with top_k choices the f_i add up to top_k, as in Mixtral's.
    Even load gives top_k. transformers pools the layers before it multiplies, so that one layer can make up for
    another; here each is by itself.
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
    P_i of the neighbouring experts that one of `devices` devices holds. The communication loss (eq. 29 to 31) is left
    out: it belongs to expert parallelism, which no stage here has."""
    shares, affinities = (part.view(*part.shape[:2], devices, -1) for part in _by_sequence(routed))
    return (shares.mean(dim=-1) * affinities.sum(dim=-1)).sum(dim=-1).mean(dim=1)


def _by_sequence(routed: Routed) -> tuple[Tensor, Tensor]:
    """(f, P) of DeepSeek's losses, both [layers, sequences, experts]."""
    layers, _, experts = routed.logits.shape
    top_k = routed.chosen.shape[-1]
    sequences = int(routed.sequence.max()) + 1
    lengths = torch.bincount(routed.sequence, minlength=sequences).float()[:, None]
    # An expert of a sequence is a place of its own, so that one sum counts all sequences.
    places = (routed.sequence[:, None] * experts + routed.chosen).flatten(1)
    counts = per_expert(
        places, torch.ones_like(places, dtype=torch.float32), sequences * experts
    ).view(layers, sequences, experts)
    sums = routed.logits.new_zeros(layers, sequences, experts, dtype=torch.float32)
    sums = sums.index_add(1, routed.sequence, routed.gating.affinities(routed.logits))
    return counts * experts / (top_k * lengths), sums / lengths
