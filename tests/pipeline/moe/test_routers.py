"""Routers of every known family: found where they are, read as they are, reached by gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.moe.families import FAMILIES
from pipeline.moe.routers import Routing, UnknownFamilyError, routers

Tiny = Callable[..., Any]
LAYERS = {
    "mixtral": [0, 1], "qwen2_moe": [0, 1], "qwen3_moe": [0, 1], "qwen3_moe_every_second": [1], "olmoe": [0, 1],
    "deepseek_v2": [1], "deepseek_v3": [1], "gpt_oss": [0, 1], "dbrx": [0, 1],
    "jamba": [0, 1],
}


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randint(4, 48, (8, 24), generator=torch.Generator().manual_seed(seed))


def read(model: Any) -> dict[int, Routing]:
    """The routings of one forward, by layer."""
    found: dict[int, Routing] = {}
    for router in routers(model):
        router.watch(lambda routing, layer=router.layer: found.update({layer: routing}))  # type: ignore[misc]
    model(tokens())
    return found


def test_every_family_is_tested() -> None:
    assert set(FAMILIES) <= set(LAYERS)


@pytest.mark.parametrize(("family", "layers"), [*LAYERS.items(), ("qwen3", []), ("llama", [])])
def test_routers_are_found_where_they_are(tiny: Tiny, family: str, layers: list[int]) -> None:
    found = routers(tiny(family))
    assert [router.layer for router in found] == layers
    assert all(router.experts == 4 for router in found)
    assert all((router.bias is not None) == (family == "deepseek_v3") for router in found)


@pytest.mark.parametrize("family", LAYERS)
def test_what_is_read_is_what_was_done(tiny: Tiny, family: str) -> None:
    for routing in read(tiny(family)).values():
        count = 8 * 24
        assert routing.logits.shape == (count, 4)
        assert routing.chosen.shape == routing.weights.shape == (count, 2)
        assert routing.chosen.unique().tolist() == [0, 1, 2, 3]
        likeliest = routing.logits.topk(2).indices
        assert torch.equal(likeliest.sort().values, routing.chosen.sort().values)
        chances = torch.sigmoid(routing.logits) if family == "deepseek_v3" else torch.softmax(routing.logits, -1)
        if family == "gpt_oss":
            chances = torch.exp(routing.logits)
        share = chances.gather(1, routing.chosen)
        assert torch.allclose(
            routing.weights / routing.weights.sum(-1, keepdim=True), share / share.sum(-1, keepdim=True), atol=1e-5
        )


@pytest.mark.parametrize(("family", "changed"), [
    *((family, {}) for family in LAYERS),
    ("qwen3_moe", {"norm_topk_prob": True}), ("deepseek_v3", {"norm_topk_prob": False, "routed_scaling_factor": 2.5}),
    ("deepseek_v2", {"routed_scaling_factor": 16.0}),
])
def test_weights_are_what_the_family_computes(tiny: Tiny, family: str, changed: dict[str, Any]) -> None:
    model = tiny(family, **changed)
    routing = read(model)
    for router in routers(model):
        found = routing[router.layer]
        assert torch.allclose(router.gating.weights(found.logits, found.chosen), found.weights, rtol=1e-5, atol=0)
        assert torch.allclose(router.gating.affinities(found.logits).sum(dim=-1), torch.ones(8 * 24))


@pytest.mark.parametrize("family", LAYERS)
def test_experts_take_what_is_chosen_in_the_routers_stead(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    before = model(tokens()).logits
    (router, *_) = routers(model)
    seen: list[Routing] = []
    handles = router.watch(seen.append)
    handles += router.reroute(lambda own: Routing(own.logits, (own.chosen + 1) % 4, own.weights))
    after = model(tokens()).logits
    handles += router.reroute(lambda _own: None)
    for handle in handles:
        handle.remove()
    assert (after - before).abs().max() > 1e-3
    assert not torch.equal(seen[0].chosen.sort().values, seen[0].logits.topk(2).indices.sort().values)
    assert torch.equal(model(tokens()).logits, before)


def test_a_layer_that_takes_every_expert_is_read_like_any(tiny: Tiny) -> None:
    for routing in read(tiny("mixtral", num_experts_per_tok=4)).values():
        assert routing.chosen.sort().values.tolist() == [[0, 1, 2, 3]] * 8 * 24
        assert torch.allclose(routing.weights.sum(dim=-1), torch.ones(8 * 24))


@pytest.mark.parametrize("family", LAYERS)
def test_gradients_reach_the_routers(tiny: Tiny, family: str) -> None:
    model = tiny(family).train()
    model(tokens(), labels=tokens()).loss.backward()
    for router in routers(model):
        assert all(
            parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in router.module.parameters()
        )


def test_handles_end_the_reading(tiny: Tiny) -> None:
    model, seen = tiny("dbrx"), []
    handles = [handle for router in routers(model) for handle in router.watch(seen.append)]
    model(tokens())
    for handle in handles:
        handle.remove()
    model(tokens())
    assert len(seen) == 2


def test_an_unknown_family_is_said_so() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("phimoe", vocab_size=48, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                  num_attention_heads=2, num_key_value_heads=2, num_local_experts=2,
                                  num_experts_per_tok=1)
    with pytest.raises(
        UnknownFamilyError, match=r"'phimoe' models have experts \(model.layers.0.mlp.*known families: mixtral"
    ):
        routers(AutoModelForCausalLM.from_config(config))
