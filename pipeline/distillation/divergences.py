"""How far a student's next-token distribution is from a teacher's: pure functions on tensors.

Shapes: `student` are log-probabilities [tokens, vocabulary] or [tokens, k + 1], `teacher` probabilities of the same
shape, where the last column of k + 1 is the bucket of all other words. Each divergence is [tokens], never negative but
for rounding, and 0 where both agree.
"""

import math

import torch
from torch import Tensor

LEAST = math.log(1e-9)
"""The logarithm of the least probability that counts: a word that a teacher rules out costs much, and not infinitely
much."""


def log_distribution(logits: Tensor, temperature: float) -> Tensor:
    """log softmax(logits / temperature), in fp32, with the shape of `logits` [tokens, vocabulary] (Hinton, Vinyals and
    Dean 2015, arXiv 1503.02531, equation 1)."""
    return torch.log_softmax(logits.float() / temperature, dim=-1)


def bucketed(log_probs: Tensor, ids: Tensor) -> Tensor:
    """Of log-probabilities [tokens, vocabulary] those at ids [tokens, k], and in a last column the logarithm of what
    all other words have together: [tokens, k + 1].

    A distribution again, so that a divergence of two such is one, too: at most that of the whole distributions (the
    data processing inequality), and 0 only where student and teacher agree on every word in `ids`. Without the bucket
    a reverse divergence over the k words is unbounded below, and a student can lower it by leaving them.
    """
    chosen = log_probs.gather(-1, ids)  # [tokens, k]
    others = log_probs.scatter(-1, ids, -torch.inf).logsumexp(dim=-1, keepdim=True)
    # Where all words are chosen nothing is left, of which a divergence could not tell the logarithm.
    return torch.cat([chosen, others.clamp(min=LEAST)], dim=-1)


def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student), [tokens]: a student is to have whatever the teacher has (Hinton et al. 2015, section 2,
    whose cross-entropy has the same gradient)."""
    return (teacher * (_log(teacher) - student)).sum(dim=-1)


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(student || teacher), [tokens]: a student is to have nothing that the teacher has not (MiniLLM, Gu et al. 2023,
    arXiv 2306.08543, section 2.1; GKD, Agarwal et al. 2023, arXiv 2306.13649, section 3.1).

    Exact over the vocabulary, so that no sampling noise of single tokens is in it.
    """
    return (student.exp() * (student - _log(teacher))).sum(dim=-1)


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(min=math.exp(LEAST)).log()


def hinton(divergence: Tensor, hard: Tensor, temperature: float, mix: float) -> Tensor:
    """mix * temperature ** 2 * divergence + (1 - mix) * hard, [tokens].

    Gradients of a divergence at a temperature are smaller by its square, which is given back (Hinton et al. 2015,
    section 2). `hard` is the cross-entropy of the token that stands there, at temperature 1.
    """
    return mix * temperature**2 * divergence + (1 - mix) * hard
