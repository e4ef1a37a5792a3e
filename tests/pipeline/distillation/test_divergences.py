"""Divergences by hand and by their properties."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.distillation import divergences

HALF = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
EVEN = torch.full((1, 3), 1 / 3, dtype=torch.float64)


def logits(seed: int, tokens: int = 4, words: int = 9) -> Tensor:
    return 3 * torch.randn(tokens, words, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_by_hand() -> None:
    forward = 0.5 * math.log(1.5) + 0.5 * math.log(0.75)
    reverse = (math.log(2 / 3) + 2 * math.log(4 / 3)) / 3
    assert divergences.forward_kl(EVEN.log(), HALF).item() == pytest.approx(forward)
    assert divergences.reverse_kl(EVEN.log(), HALF).item() == pytest.approx(reverse)
    assert divergences.hinton(torch.tensor([0.1]), torch.tensor([2.0]), 3.0, 0.75).item() == pytest.approx(
        0.75 * 9 * 0.1 + 0.25 * 2
    )


def test_a_bucket_holds_what_is_left() -> None:
    found = divergences.bucketed(HALF.log(), torch.tensor([[0, 2]]))
    assert found.exp().tolist()[0] == pytest.approx([0.5, 0.25, 0.25])


@given(st.integers(0, 99), st.integers(100, 199), st.integers(1, 9))
def test_never_negative_nothing_for_equals_and_a_bucket_tells_less(one: int, other: int, k: int) -> None:
    student, teacher = (divergences.log_distribution(logits(seed), 1.0).double() for seed in (one, other))
    ids = teacher.topk(k).indices
    for divergence in (divergences.forward_kl, divergences.reverse_kl):
        whole = divergence(student, teacher.exp())
        part = divergence(divergences.bucketed(student, ids), divergences.bucketed(teacher, ids).exp())
        assert (whole >= -1e-6).all()
        assert (part >= -1e-3).all()
        assert (part <= whole + 1e-3).all()
        assert divergence(teacher, teacher.exp()).abs().max() < 1e-5


def test_the_exact_reverse_divergence_is_the_mean_of_its_estimates() -> None:
    """Of draws from the student, log student - log teacher; and so is its gradient that of REINFORCE."""
    student, teacher = (divergences.log_distribution(logits(seed, tokens=1), 1.0).double() for seed in (3, 4))
    estimates = student - teacher  # of each word
    exact = divergences.reverse_kl(student, teacher.exp())
    assert exact.item() == pytest.approx(float((student.exp() * estimates).sum()))
    raw = logits(3, tokens=1).requires_grad_()
    divergences.reverse_kl(torch.log_softmax(raw, dim=-1), teacher.exp()).sum().backward()
    words = torch.log_softmax(logits(3, tokens=1), dim=-1)
    expected = (words.exp() * (estimates - exact.unsqueeze(-1)))
    assert raw.grad is not None
    assert torch.allclose(raw.grad, expected, atol=1e-6)
