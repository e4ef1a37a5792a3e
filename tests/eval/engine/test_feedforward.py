"""However few tokens there are, and whichever way experts are run, a block gives what the model's own gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from eval.engine import feedforward
from eval.engine.feedforward import Experts

Tiny = Callable[..., Any]


@pytest.mark.parametrize("family", ["qwen3_moe", "qwen2_moe", "mixtral", "deepseek_v3", "gpt_oss"])
@pytest.mark.parametrize("tokens", [1, 2, 7, 20, 40])
@pytest.mark.parametrize("large", [0, 2**19])
@torch.no_grad()
def test_experts_give_what_the_module_gives(
    tiny: Tiny, family: str, tokens: int, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedforward, "PADDED", 30)
    monkeypatch.setattr(feedforward, "LARGE", large)
    model = tiny(family)
    module = model.model.layers[1].mlp
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.normal_()
    hidden, residual = torch.randn(tokens, 32), torch.randn(tokens, 32)
    expected = module(hidden.unsqueeze(0))
    expected = (expected[0] if isinstance(expected, tuple) else expected).squeeze(0)
    before = residual.clone()
    block = Experts(module, "router" if family == "gpt_oss" else "gate")
    assert bool(block.apart) is (large == 0)
    assert torch.allclose(block(residual, hidden) - residual, expected, atol=1e-4)
    assert torch.equal(residual, before)
