"""Capacity: first choices first, earlier tokens first, padding takes no place."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.moe.capacity import capacity, fitting


def test_capacity_is_a_multiple_of_an_even_share() -> None:
    assert capacity(tokens=8, experts=4, top_k=2, factor=1.0) == 4
    assert capacity(tokens=8, experts=4, top_k=2, factor=1.25) == 5
    assert capacity(tokens=3, experts=4, top_k=1, factor=1.0) == 1


def test_first_choices_are_served_before_second_ones() -> None:
    chosen = torch.tensor([[0, 1], [0, 1], [1, 0], [1, 0]])
    weights = torch.tensor([[0.4, 0.6], [0.6, 0.4], [0.6, 0.4], [0.4, 0.6]])
    # first choices: tokens 0 and 2 want expert 1, tokens 1 and 3 want expert 0; each expert takes three of eight
    fits = fitting(chosen, weights, experts=2, factor=0.75)
    assert fits.tolist() == [[True, True], [True, True], [True, False], [False, True]]


def test_padding_takes_no_place() -> None:
    chosen, weights = torch.zeros(4, 1, dtype=torch.long), torch.ones(4, 1)
    fits = fitting(chosen, weights, 2, 1.0, counts=torch.tensor([False, True, True, False]))
    assert fits[1:3].tolist() == [[True], [False]]  # two tokens, two experts: one a token


@given(st.integers(1, 30), st.integers(0, 1000), st.sampled_from([0.5, 1.0, 1.25, 2.0]))
def test_no_expert_takes_more_and_none_is_refused_without_need(tokens: int, seed: int, factor: float) -> None:
    scores = torch.rand(tokens, 4, generator=torch.Generator().manual_seed(seed))
    weights, chosen = scores.topk(2)
    fits = fitting(chosen, weights, 4, factor)
    most = capacity(tokens, 4, 2, factor)
    wanted = torch.bincount(chosen.flatten(), minlength=4)
    taken = torch.bincount(chosen[fits], minlength=4)
    assert torch.equal(taken, wanted.clamp(max=most))
