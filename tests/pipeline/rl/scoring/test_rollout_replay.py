"""Replay: with rollouts in another precision, training takes their experts, and is nearer to what was sampled."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.moe.replay import OWN
from pipeline.moe.routers import Routing, routers
from pipeline.rl.scoring import rollout_replay
from pipeline.training.logprobs import completion_logprobs
from tests.pipeline.rl.test_trainer import TEMPERATURE, first, loss_and_gradients, policy, trainer

Tiny = Callable[..., Any]
FAMILIES = ("deepseek_v3", "qwen3_moe", "mixtral", "gpt_oss", "dbrx")
EXPERTS = {"qwen3_moe": {"num_experts": 16, "norm_topk_prob": True}, "deepseek_v3": {"n_routed_experts": 16}}
DEEP: dict[str, dict[str, Any]] = {
    **{family: {"num_hidden_layers": 4, **EXPERTS.get(family, {"num_local_experts": 16})} for family in FAMILIES},
    "dbrx": {
        "n_layers": 4, "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 16, "moe_top_k": 2, "hidden_size": 32}
    },
}
DEEP["gpt_oss"]["layer_types"] = ["sliding_attention", "full_attention"] * 2


def deep(tiny: Tiny, family: str) -> Any:
    """A model in which near ties are common and experts matter: 16 of them, routers that hardly prefer any, four
    layers."""
    model = policy(tiny, family, **DEEP[family])
    with torch.no_grad():
        for router in routers(model):
            for parameter in router.module.parameters():
                parameter *= 0.3
    return model


def chosen_in(model: Any, compute: Callable[[], Any]) -> list[torch.Tensor]:
    """The experts that training forwards take in `compute`, a layer after the other."""
    seen: list[Routing] = []
    handles = [handle for router in routers(model) for handle in router.watch(seen.append)]
    compute()
    for handle in handles:
        handle.remove()
    return [routing.chosen for routing in seen]


@pytest.mark.parametrize("family", FAMILIES)
def test_experts_are_recorded_for_every_token_but_the_last(tiny: Tiny, tmp_path: Any, family: str) -> None:
    model = policy(tiny, family)
    made = trainer(model, tmp_path, replay="rollout")
    batch = first(made)
    ids, mask, recorded = batch.ids, batch.mask, batch.experts
    assert recorded is not None
    layers = len(routers(model))
    assert recorded.shape == (*ids.shape, layers, 2)
    last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
    held = mask.bool().clone()
    held[torch.arange(len(ids)), last] = False
    assert torch.equal(recorded[..., 0, 0] != OWN, held)
    with torch.no_grad():
        own = chosen_in(model.eval(), lambda: model(input_ids=ids, attention_mask=mask))
    for place, chosen in enumerate(own):
        again = chosen.view(*ids.shape, 2)[held].sort().values
        assert (again == recorded[:, :, place][held].sort().values).float().mean() > 0.995  # a tie may fall otherwise


@pytest.mark.parametrize("family", FAMILIES)
def test_replay_of_rollouts_in_bf16(tiny: Tiny, tmp_path: Any, family: str) -> None:
    """They disagree on purpose; replay takes disagreement to nothing and halves the gap at least; gradients reach
    routers."""
    def gap(replayed: bool) -> tuple[float, float]:
        context = made.rounds.replay.of(batch) if replayed and made.rounds.replay else torch.enable_grad()
        with context:
            taken = chosen_in(model, lambda: found.append(completion_logprobs(
                model, batch.ids, batch.mask, batch.completion_ids.shape[1], TEMPERATURE)[0]))
        recorded = batch.experts
        assert recorded is not None
        other = torch.zeros(batch.ids.shape, dtype=torch.bool)
        for place, chosen in enumerate(taken):
            other |= (chosen.view(*batch.ids.shape, 2).sort().values != recorded[:, :, place].sort().values).any(dim=-1)
        held = recorded[..., 0, 0] != OWN
        kept = batch.completion_mask.bool()
        return float(other[held].float().mean()), float((found[-1] - batch.logprobs)[kept].detach().abs().mean())

    found: list[torch.Tensor] = []
    model = deep(tiny, family)
    made = trainer(model, tmp_path, replay="rollout", rollout_dtype=torch.bfloat16)
    batch = first(made)
    assert made.rounds.replay
    made.rounds.replay.figures()
    disagree, distance = gap(replayed=False)
    disagree_replayed, distance_replayed = gap(replayed=True)
    assert disagree > 0.02
    assert disagree_replayed == 0
    assert distance_replayed < 0.5 * distance
    figures = made.rounds.replay.figures()
    assert 0 < figures["replay/tokens_differing"] < 4 * disagree  # not the same: layers follow replayed ones here
    loss, _ = loss_and_gradients(lambda: made.loss(model, batch.rows(made.moving(batch))), model)
    assert loss.isfinite()
    for router in routers(model):
        assert all(
            parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in router.module.parameters()
        )


def test_kl_tells_what_replay_takes_away(tiny: Tiny, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_replay, "MEASURED", 1)
    made = trainer(deep(tiny, "qwen3_moe"), tmp_path, replay="rollout", rollout_dtype=torch.bfloat16)
    first(made)
    assert made.rounds.replay
    figures = made.rounds.replay.figures()
    assert figures["replay/kl_removed"] > figures["replay/kl"] > 0


@pytest.mark.parametrize("source", ["rollout", "policy"])
@pytest.mark.parametrize("family", FAMILIES)
def test_with_equal_precision_the_result_is_the_same_as_without(
    tiny: Tiny, tmp_path: Any, family: str, source: str
) -> None:
    def result(replay: str | None) -> tuple[Any, Any]:
        model = policy(tiny, family)
        made = trainer(model, tmp_path, replay=replay)
        batch = first(made)
        return loss_and_gradients(lambda: made.loss(model, batch.rows(made.moving(batch))), model)

    loss, gradients = result(source)
    expected, expected_gradients = result(None)
    assert torch.allclose(loss, expected, rtol=1e-4, atol=1e-6)
    for a, b in zip(gradients, expected_gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_the_policys_own_experts_are_replayed_after_an_update(tiny: Tiny, tmp_path: Any) -> None:
    model = policy(tiny, "qwen3_moe")
    made = trainer(model, tmp_path, replay="policy")
    batch = first(made)
    with torch.no_grad():
        for router in routers(model):
            router.module.weight += 0.3 * torch.randn_like(router.module.weight)
    made.loss(model, batch.rows(made.moving(batch)))
    assert made.rounds.replay
    assert made.rounds.replay.figures()["replay/tokens_differing"] > 0.2


def test_a_dense_policy_has_nothing_to_replay(tiny: Tiny, tmp_path: Any) -> None:
    made = trainer(policy(tiny, "qwen3"), tmp_path, replay="rollout")
    assert made.rounds.replay is None
    assert first(made).experts is None
