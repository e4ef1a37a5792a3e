"""Compiled layers have the gradients of the others, to rounding, and their own bytes in whatever order shapes come."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch

from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.moe.routers import routers
from pipeline.training.layers import compilation
from pipeline.training.layers.compilation import CompiledLayers, parts

Tiny = Callable[..., Any]
SHAPES = ((3, 11), (1, 9), (4, 20))
RARE = ("mixtral", "deepseek_v2", "qwen2_moe", "olmoe", "gpt_oss", "dbrx", "qwen3_moe_every_second")


def gradients(model: Any, shapes: Sequence[tuple[int, int]] = SHAPES) -> dict[str, Any]:
    """By the shape of a batch and the name of a weight, and what the watch of the experts has seen."""
    found: dict[str, Any] = {}
    balance = Balance(model, Balancing(load=0.5) if routers(model) else None)
    for rows, seq in shapes:
        ids = torch.randint(4, 48, (rows, seq), generator=torch.Generator().manual_seed(rows * seq))
        mask = torch.ones_like(ids)
        mask[0, seq - 3:] = 0
        model.zero_grad()
        loss = model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss
        (loss + balance.loss()).backward()
        found |= {f"{rows} {name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    found |= {name: torch.tensor(value) for name, value in balance.watch.figures().items() if "load" in name}
    balance.remove()
    return found


@pytest.mark.parametrize("family", [
    "qwen3", "deepseek_v3", *(pytest.param(family, marks=pytest.mark.faults) for family in ("jamba", *RARE)),
])
def test_gradients_and_loads_are_those_of_layers_that_are_not_compiled(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    # Traced, taken apart into forward and backward, and run without making C++ of it, which takes a minute.
    monkeypatch.setattr(compilation.torch, "compile", partial(torch.compile, backend="aot_eager"))
    model = tiny(family).train()
    expected = gradients(model)
    compiled = CompiledLayers(model)
    found = gradients(model)
    compiled.remove()
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) for name in expected)
    assert all(torch.equal(value, expected[name]) for name, value in gradients(model).items())


def test_what_is_compiled_holds_no_router(tiny: Tiny) -> None:
    dense = tiny("qwen3")
    assert list(parts(dense)) == list(dense.model.layers)
    mixed = tiny("qwen3_moe_every_second")
    whole, halved = sorted(mixed.model.layers, key=lambda layer: hasattr(layer.mlp, "experts"))
    names = {id(part): name for name, part in halved.named_modules()}
    found = list(parts(mixed))
    assert whole in found
    assert {names[id(part)] for part in found if part is not whole} == {
        "self_attn", "input_layernorm", "post_attention_layernorm",
    }


@pytest.mark.faults
@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe"])
def test_the_program_is_the_same_whichever_shapes_came_first(tiny: Tiny, family: str) -> None:
    def made(shapes: Sequence[tuple[int, int]]) -> dict[str, Any]:
        torch.compiler.reset()
        model = tiny(family).train()
        compiled = CompiledLayers(model)
        found = gradients(model, shapes)
        compiled.remove()
        return {name: value for name, value in found.items() if name.startswith("4 ")}

    first, last = made([(4, 20), (1, 9), (3, 11)]), made([(3, 11), (1, 9), (4, 20)])
    plain = gradients(tiny(family).train(), [(4, 20)])
    assert all(torch.equal(value, last[name]) for name, value in first.items())
    assert all(torch.allclose(value, plain[name], atol=1e-5) for name, value in first.items())
