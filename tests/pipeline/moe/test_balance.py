"""The bias update evens out a skewed router, and only training counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.moe.balance import Balance
from pipeline.moe.routers import UnknownFamilyError, routers

Tiny = Callable[..., Any]
SPEED = 0.02


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randint(4, 48, (8, 24), generator=torch.Generator().manual_seed(seed))


def skewed(tiny: Tiny) -> Any:
    """A model whose router prefers one expert for nearly every token."""
    model = tiny("deepseek_v3").train()
    with torch.no_grad():
        for router in routers(model):
            buffers = dict(router.module.named_buffers())
            buffers["e_score_correction_bias"] += torch.tensor([0.5, 0.0, 0.0, 0.0])
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
    bias = dict(routers(model)[0].module.named_buffers())["e_score_correction_bias"]
    start = bias.clone()
    assert load(model) > 1.0
    assert torch.equal(bias, start)


def test_a_step_is_the_speed_for_every_expert(tiny: Tiny) -> None:
    model = skewed(tiny)
    bias = dict(routers(model)[0].module.named_buffers())["e_score_correction_bias"]
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


@pytest.mark.parametrize(("family", "layers"), [("deepseek_v3", [1]), ("qwen3_moe", [0, 1]), ("qwen3", []), ("llama", [])])
def test_routers_are_found_where_they_are(tiny: Tiny, family: str, layers: list[int]) -> None:
    found = routers(tiny(family))
    assert [router.layer for router in found] == layers
    assert all(router.experts == 4 for router in found)


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3_moe"])
def test_what_a_router_chose_is_two_experts_a_token(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    router = routers(model)[-1]
    seen: list[torch.Tensor] = []
    router.module.register_forward_hook(lambda _module, _inputs, output: seen.append(router.chosen(output)))
    model(tokens())
    assert seen[0].shape == (8 * 24, 2)
    assert seen[0].unique().tolist() == [0, 1, 2, 3]
    assert (seen[0][:, 0] != seen[0][:, 1]).all()


def test_an_unknown_family_is_said_so() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("mixtral", vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                  num_attention_heads=2, num_key_value_heads=2, num_local_experts=2)
    with pytest.raises(UnknownFamilyError, match="no routers are known for 'mixtral' models; known: deepseek_v3"):
        routers(AutoModelForCausalLM.from_config(config))
