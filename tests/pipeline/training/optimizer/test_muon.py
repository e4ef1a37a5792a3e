"""Muon makes matrices orthogonal, one by one where they are fused; the rest moves as torch's AdamW moves it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.training.optimizer.muon import Muon, orthogonalize


@given(st.sampled_from([(16, 16), (12, 40), (40, 12), (3, 8, 24), (5, 24, 8)]), st.integers(0, 1000))
def test_singular_values_come_near_one(shape: tuple[int, ...], seed: int) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values.clamp(min=values.amax(dim=-1, keepdim=True) / 50)  # what is next to nothing takes more steps
    found = torch.linalg.svdvals(orthogonalize(left @ torch.diag_embed(values) @ right))
    assert found.min() > 0.3
    assert found.max() < 1.3


def test_the_directions_stay() -> None:
    matrix = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    rotated = left.T @ orthogonalize(matrix) @ right.T
    assert (rotated - torch.diag(rotated.diagonal())).abs().max() < 1e-4
    assert (rotated.diagonal() > 0).all()


def steps(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], count: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


def test_fused_experts_move_as_they_would_one_by_one() -> None:
    start, gradients = torch.randn(4, 6, 10), torch.randn(3, 4, 6, 10)
    fused = nn.Parameter(start.clone())
    apart = [nn.Parameter(matrix.clone()) for matrix in start]
    one = Muon([("mlp.experts.down_proj", fused)], 0.02, 1e-3)
    many = Muon([(f"mlp.experts.{i}.down_proj.weight", matrix) for i, matrix in enumerate(apart)], 0.02, 1e-3)
    for gradient in gradients:
        fused.grad = gradient.clone()
        for matrix, its in zip(apart, gradient, strict=True):
            matrix.grad = its.clone()
        one.step()
        many.step()
    assert torch.allclose(fused, torch.stack(list(apart)), atol=1e-6)
    assert (fused - start).abs().max() > 1e-3


def test_an_update_has_the_size_of_adamws() -> None:
    matrix = nn.Parameter(torch.zeros(32, 64))
    steps(Muon([("q_proj.weight", matrix)], 1.0, 1.0), [matrix], 1)
    assert 0.1 < matrix.square().mean().sqrt() < 0.3  # 0.2 is AdamW's (Liu et al. 2025)


def test_the_rest_moves_as_torchs_adamw() -> None:
    start = [torch.randn(5), torch.randn(7, 3)]
    ours = [nn.Parameter(tensor.clone()) for tensor in start]
    theirs = [nn.Parameter(tensor.clone()) for tensor in start]
    muon = Muon([("norm.weight", ours[0]), ("embed_tokens.weight", ours[1])], 0.5, 3e-3)
    adam = torch.optim.AdamW(theirs, lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    steps(muon, ours, 20)
    steps(adam, theirs, 20)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3_moe", "qwen3"])
def test_matrices_get_muon_and_nothing_else_does(tiny: Callable[..., Any], family: str) -> None:
    model = tiny(family, tie_word_embeddings=False)
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    muon, adam = Muon(model.named_parameters(), 1.0, 1.0).param_groups
    assert len(muon["params"]) + len(adam["params"]) == len(named)
    by_muon = {named[id(parameter)] for parameter in muon["params"]}
    by_adam = {named[id(parameter)] for parameter in adam["params"]}
    assert all(("proj" in name) and not name.endswith("bias") for name in by_muon), by_muon
    expected = ("norm", "embed_tokens", "lm_head", "gate.weight", "bias")
    assert all(any(part in name for part in expected) for name in by_adam), by_adam


@pytest.mark.parametrize(("family", "others"), [
    ("gpt_oss", ["experts.gate_up_proj_bias", "experts.down_proj_bias", "embed_tokens.weight"]),
    ("dbrx", ["wte.weight", "experts.mlp.w1", "experts.mlp.w2"]),
    ("jamba", ["A_log", "conv1d.weight", "embed_tokens.weight"]),
])
def test_tables_that_are_no_matrices_are_adamws(tiny: Callable[..., Any], family: str, others: list[str]) -> None:
    named = dict(tiny(family).named_parameters())
    muon, adam = (
        [name for name, one in named.items() if any(one is other for other in group["params"])]
        for group in Muon(named.items(), 1.0, 1.0).param_groups
    )
    for part in others:
        assert any(part in name for name in adam), part
        assert not any(part in name for name in muon), part
    assert any("o_proj" in name or "out_proj" in name for name in muon)


def test_a_saved_optimizer_goes_on_as_the_first_would_have() -> None:
    def build() -> tuple[Muon, list[nn.Parameter]]:
        torch.manual_seed(0)
        parameters = [nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.randn(3, 4, 4)), nn.Parameter(torch.randn(4))]
        return Muon(zip(("q_proj", "experts", "norm"), parameters, strict=True), 0.02, 3e-3), parameters

    first, through = build()
    steps(first, through, 3)
    state, middle = copy.deepcopy(first.state_dict()), [p.detach().clone() for p in through]
    steps(first, through, 3, seed=1)

    second, resumed = build()
    second.load_state_dict(state)
    with torch.no_grad():
        for parameter, value in zip(resumed, middle, strict=True):
            parameter.copy_(value)
    steps(second, resumed, 3, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(through, resumed, strict=True))


def test_frozen_parameters_and_missing_gradients_are_left_alone() -> None:
    frozen, idle = nn.Parameter(torch.ones(4, 4), requires_grad=False), nn.Parameter(torch.ones(4))
    matrix = nn.Parameter(torch.zeros(4, 4))
    optimizer = Muon([("a_proj", frozen), ("norm", idle), ("b_proj", matrix)], 0.1, 0.1)
    matrix.grad = torch.eye(4)
    optimizer.step()
    assert torch.equal(frozen, torch.ones(4, 4))
    assert torch.equal(idle, torch.ones(4))
    assert not torch.equal(matrix, torch.zeros(4, 4))
