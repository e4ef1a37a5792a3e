"""Which layers of a model take another arithmetic, in every family, and when."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from pipeline.contract.errors import StageError
from pipeline.moe.families import FAMILIES
from pipeline.training.fp8.layers import replace

Tiny = Callable[..., Any]
IDS = torch.randint(4, 48, (3, 20), generator=torch.Generator().manual_seed(0))


class Exact:
    """fp32 products, which are counted by the sizes of their weights."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, rows: Tensor, weight: Tensor, counts: Sequence[int]) -> Tensor:
        assert rows.dtype == weight.dtype == torch.float32
        self.seen.append(tuple(weight.shape))
        groups = zip(rows.split(list(counts)), weight, strict=True)
        return torch.cat([group @ matrix.T for group, matrix in groups])


@pytest.fixture
def computing() -> Callable[[Any], tuple[Tensor, dict[str, Tensor]]]:
    def loss_and_gradients(model: Any) -> tuple[Tensor, dict[str, Tensor]]:
        model.zero_grad()
        loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
        loss.backward()
        return loss.detach(), {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}

    return loss_and_gradients


GROUPED = [name for name, family in FAMILIES.items() if family.grouped]


@pytest.mark.parametrize("family", [*GROUPED, "qwen3", "deepseek_v3_plain_queries"])
def test_with_exact_products_a_model_computes_what_it_did(tiny: Tiny, family: str, computing: Any) -> None:
    model = tiny(family).train()
    loss, gradients = computing(model)
    exact = Exact()
    layers = replace(model, exact)
    found, found_gradients = computing(model)
    assert torch.allclose(found, loss, rtol=1e-5)
    assert found_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(found_gradients[name], gradient, rtol=1e-3, atol=1e-5), name
    # The head, routers and gates are none of the products, and every other matrix is one.
    skipped = ("embed_tokens", "lm_head", "norm", ".router.", ".mlp.gate.", "shared_expert_gate", "conv1d", "A_log",
               "dt_proj", "_bias")
    matrices = [one for name, one in model.named_parameters() if one.ndim > 1 and not any(s in name for s in skipped)]
    assert len(exact.seen) == len(matrices) > 8
    exact.seen.clear()
    with torch.no_grad():
        model(input_ids=IDS, use_cache=False)
    assert exact.seen == []
    for layer in layers:
        del layer.forward
    again, _ = computing(model)
    assert exact.seen == []
    assert torch.equal(again, loss)


def test_weights_in_half_precision_and_autocast_are_computed_in_fp32(tiny: Tiny) -> None:
    model = tiny("qwen3").train()
    replace(model, Exact())
    logits = model(input_ids=IDS, use_cache=False).logits
    with torch.autocast("cpu", torch.bfloat16):
        found = model(input_ids=IDS, use_cache=False).logits
    assert found.dtype == torch.bfloat16
    assert 0 < (found - logits).norm() < 0.02 * logits.norm()
    halves = tiny("gpt_oss").to(torch.bfloat16).train()
    replace(halves, Exact())
    loss = halves(input_ids=IDS, labels=IDS, use_cache=False).loss
    loss.backward()
    assert all(one.grad is None or one.grad.dtype == torch.bfloat16 for one in halves.parameters())


def test_a_family_whose_experts_lie_otherwise_is_refused(tiny: Tiny) -> None:
    with pytest.raises(StageError, match="how dbrx keeps its experts is not known in eight bits; leave fp8 out"):
        replace(tiny("dbrx"), Exact())


def test_a_family_without_linear_layers_is_refused() -> None:
    config = GPT2Config(vocab_size=48, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    with pytest.raises(StageError, match="gpt2 multiplies by what torch does not take for linear layers"):
        replace(GPT2LMHeadModel(config), Exact())
