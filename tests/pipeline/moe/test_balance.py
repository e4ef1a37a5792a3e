"""The bias update evens out a skewed router, and only training counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.moe.balance import Balance
from pipeline.moe.routers import routers
from pipeline.stage import StageError

Tiny = Callable[..., Any]
SPEED = 0.02


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randint(4, 48, (8, 24), generator=torch.Generator().manual_seed(seed))


def bias_of(model: Any) -> torch.Tensor:
    (router,) = routers(model)
    assert router.bias is not None
    return router.bias


def skewed(tiny: Tiny) -> Any:
    """A model whose router prefers one expert for nearly every token."""
    model = tiny("deepseek_v3").train()
    with torch.no_grad():
        bias_of(model).add_(torch.tensor([0.5, 0.0, 0.0, 0.0]))
    return model


def load(model: Any) -> float:
    """Max over mean load of one training forward, seen from outside."""
    balance = Balance(model, speed=0.0)
    model(tokens(99))
    balance.step()
    balance.remove()
    found = balance.max_over_mean()
    assert found is not None
    return found


def test_the_bias_moves_against_the_load(tiny: Tiny) -> None:
    model = skewed(tiny)
    before = load(model)
    balance = Balance(model, SPEED)
    for step in range(40):
        model(tokens(step))
        balance.step()
    balance.remove()
    assert before > 1.5  # of at most 2: two of four experts are chosen
    assert load(model) < 0.75 * before


def test_speed_zero_only_counts(tiny: Tiny) -> None:
    model = skewed(tiny)
    bias = bias_of(model)
    start = bias.clone()
    assert load(model) > 1.0
    assert torch.equal(bias, start)


def test_a_step_is_the_speed_for_every_expert(tiny: Tiny) -> None:
    model = skewed(tiny)
    bias = bias_of(model)
    start = bias.clone()
    balance = Balance(model, SPEED)
    model(tokens())
    balance.step()
    moved = bias - start
    assert moved[0] == pytest.approx(-SPEED)
    assert ((moved.abs() - SPEED).abs() < 1e-6).logical_or(moved == 0).all()
    balance.step()  # nothing was seen since
    assert torch.equal(bias - start, moved)


def test_probes_and_rollouts_do_not_count(tiny: Tiny) -> None:
    model = skewed(tiny)
    balance = Balance(model, SPEED)
    with torch.no_grad():
        model(tokens())
    model.eval()
    model(tokens())
    assert balance.loads == {}
    model.train()
    model(tokens())
    assert balance.loads[1].sum() == 8 * 24 * 2
    balance.remove()
    balance.loads.clear()
    model(tokens())
    assert balance.loads == {}


def test_a_dense_model_is_left_alone(tiny: Tiny) -> None:
    model = tiny("qwen3").train()
    balance = Balance(model, SPEED)
    model(tokens())
    balance.step()
    assert balance.max_over_mean() is None


def test_a_speed_without_a_bias_to_move_is_refused(tiny: Tiny) -> None:
    with pytest.raises(StageError, match="qwen3_moe routers have no selection bias to move"):
        Balance(tiny("qwen3_moe"), SPEED)
    assert Balance(tiny("qwen3_moe"), None).speed == 0
    assert Balance(tiny("deepseek_v3"), None).speed > 0
