"""Weights in bfloat16 learn as those in fp32 do: through copies, which a checkpoint holds."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipeline.training.optimizer import master_weights
from pipeline.training.optimizer.master_weights import MasterWeights, with_masters
from pipeline.training.optimizer.muon import Muon

Make = Callable[[Any], Optimizer]
SMALL = 1e-5  # of what it moves, bfloat16 sees nothing in one step: weights of 1 are 2**-8 apart


def adamw(model: nn.Module) -> Optimizer:
    return AdamW(model.parameters(), lr=SMALL, weight_decay=0.0)


def muon(model: nn.Module) -> Optimizer:
    return Muon(model.named_parameters(), SMALL, SMALL)


def layers(dtype: torch.dtype) -> nn.Module:
    """Two layers in this precision, and a norm that is fp32 in any."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16)).add_(torch.sign(parameter))
            parameter.copy_(parameter.to(torch.bfloat16))
    for place in (0, 2):
        model[place].to(dtype)
    return model


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    """Steps with gradients that are the same whatever the model is."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            gradient = 1 + torch.rand(parameter.shape, generator=generator)
            parameter.grad = gradient.to(torch.bfloat16).to(parameter.dtype)
        optimizer.step()
        optimizer.zero_grad()
        assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("make", [adamw, muon])
def test_weights_in_bfloat16_go_where_those_in_fp32_go(make: Make) -> None:
    half, full, lost = layers(torch.bfloat16), layers(torch.float32), layers(torch.bfloat16)
    start = [parameter.clone() for parameter in half.parameters()]
    optimizer = with_masters(make(half))
    assert isinstance(optimizer, MasterWeights)
    train(half, optimizer, range(1000))
    train(full, make(full), range(1000))
    train(lost, make(lost), range(1000))
    moved = 0
    for one, other, plain, before in zip(half.parameters(), full.parameters(), lost.parameters(), start, strict=True):
        assert torch.equal(one, other.to(one.dtype))
        if one.dtype is torch.bfloat16:
            moved += int((one != before).sum())
            assert torch.equal(plain, before), "this test would show nothing"
    assert moved > 10


@pytest.mark.parametrize("make", [adamw, muon])
def test_what_is_resumed_goes_on_to_the_same_bits(make: Make) -> None:
    whole, cut = layers(torch.bfloat16), layers(torch.bfloat16)
    train(whole, with_masters(make(whole)), range(300))
    first = with_masters(make(cut))
    train(cut, first, range(150))
    saved = {name: value.clone() for name, value in cut.state_dict().items()}
    states = first.state_dict()
    again = layers(torch.bfloat16)
    again.load_state_dict(saved)
    second = with_masters(make(again))
    second.load_state_dict(states)
    train(again, second, range(150, 300))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), again.parameters(), strict=True))
    without = layers(torch.bfloat16)
    without.load_state_dict(saved)  # as if the copies had been made from the weights again
    train(without, with_masters(make(without)), range(150, 300))
    assert not all(torch.equal(one, other) for one, other in zip(whole.parameters(), without.parameters(), strict=True))


def test_a_schedule_moves_its_rate() -> None:
    model = layers(torch.bfloat16)
    optimizer = with_masters(adamw(model))
    schedule = LambdaLR(optimizer, lambda step: 0.5**step)
    train(model, optimizer, range(1))
    schedule.step()
    assert isinstance(optimizer, MasterWeights)
    assert optimizer.inner.param_groups[0]["lr"] == SMALL / 2
    optimizer.load_state_dict(optimizer.state_dict())
    train(model, optimizer, range(1))
    schedule.step()
    assert optimizer.inner.param_groups[0]["lr"] == SMALL / 4


def test_what_is_fp32_is_left_alone() -> None:
    full = adamw(layers(torch.float32))
    assert with_masters(full) is full


@pytest.mark.parametrize("make", [adamw, muon])
def test_a_step_in_parts_is_the_step(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for numbers in (2**26, 70, 1):
        monkeypatch.setattr(master_weights, "AT_ONCE", numbers)
        model = layers(torch.bfloat16)
        optimizer = with_masters(make(model))
        train(model, optimizer, range(5))
        found.append((model.state_dict(), optimizer.state_dict()))
    (whole, state), *others = found
    for other, other_state in others:
        assert all(torch.equal(whole[name], other[name]) for name in whole)
        assert all(torch.equal(one, two) for one, two in zip(state["copies"], other_state["copies"], strict=True))
        for place, kept in state["inner"]["state"].items():
            assert all(torch.equal(torch.as_tensor(kept[name]), torch.as_tensor(two))
                       for name, two in other_state["inner"]["state"][place].items())


def test_gradients_are_there_after_a_step() -> None:
    model = layers(torch.bfloat16)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with_masters(adamw(model)).step()
    assert all(parameter.grad is not None for parameter in model.parameters())
