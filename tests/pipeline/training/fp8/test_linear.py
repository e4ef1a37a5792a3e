"""Layers of eight bits beside layers of thirty-two, and a model that learns with them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.training.fp8.arithmetic import quantized
from pipeline.training.fp8.linear import Eight, _computing, in_eight_bits

IDS = torch.randint(4, 48, (4, 24), generator=torch.Generator().manual_seed(0))


def gradients(computing: Callable[[torch.Tensor], torch.Tensor], layer: nn.Linear, inputs: torch.Tensor) -> Any:
    inputs = inputs.clone().requires_grad_()
    layer.zero_grad()
    (computing(inputs) * torch.linspace(-1, 1, 40)).sum().backward()
    assert inputs.grad is not None
    assert layer.weight.grad is not None
    return inputs.grad, layer.weight.grad.clone()


def test_forward_and_backward_are_products_of_what_is_rounded() -> None:
    torch.manual_seed(0)
    layer, inputs = nn.Linear(200, 40), torch.randn(9, 200)
    eight = _computing(layer, Eight())
    rounded = quantized(inputs, (1, 128)) @ quantized(layer.weight.detach(), (128, 128)).T + layer.bias
    assert torch.allclose(eight(inputs), rounded, atol=1e-6)
    for found, expected in zip(gradients(eight, layer, inputs), gradients(layer, layer, inputs), strict=True):
        error = float((found - expected).norm() / expected.norm())
        assert 1e-4 < error < 0.05


def test_what_is_representable_is_exact() -> None:
    levels = torch.tensor([-448.0, -224.0, -112.0, 0.0, 112.0, 224.0, 448.0])
    layer = nn.Linear(128, 40, bias=False)
    with torch.no_grad():
        layer.weight.copy_(levels[torch.randint(0, 7, (40, 128))])
        layer.weight[0, 0] = 448.0
    inputs = levels[torch.randint(0, 7, (3, 128))]
    inputs[:, 0] = 448.0
    assert torch.equal(_computing(layer, Eight())(inputs), layer(inputs))


@pytest.mark.parametrize("family", ["qwen3", "deepseek_v3"])
def test_a_model_learns_with_them_and_is_what_it_was_after(tiny: Callable[..., Any], family: str) -> None:
    def losses(eight: Eight | None) -> list[float]:
        model = tiny(family, initializer_range=0.1).train()
        optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
        found = []
        for _ in range(20):
            if eight is None:
                loss = model(input_ids=IDS, labels=IDS).loss
            else:
                with in_eight_bits(model, eight):
                    loss = model(input_ids=IDS, labels=IDS).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(float(loss))
        assert not any("forward" in vars(one) for one in model.modules())
        return found

    exact, by_nearest = losses(None), losses(Eight())
    by_chance = losses(Eight(draws=torch.Generator().manual_seed(0)))
    assert exact[-1] < 0.8 * exact[0]
    for found in (by_nearest, by_chance):
        assert found != exact
        assert found[-1] == pytest.approx(exact[-1], abs=0.03 * exact[0])  # four rows by heart
