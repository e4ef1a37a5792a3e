"""Every way to balance evens out a skewed router; only training counts, and no padding."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipeline.contract.errors import StageError
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.moe.families import FAMILIES
from pipeline.moe.routers import Routing, routers
from pipeline.stages.pretrain import Pretrain

Tiny = Callable[..., Any]
SPEED = 0.02
OFF: dict[str, float] = {"bias_speed": 0, "importance": 0, "load": 0, "z": 0, "sequence": 0}


def only(**settings: Any) -> Balancing:
    return Balancing(**{**OFF, **settings})


def tokens(seed: int = 0) -> torch.Tensor:
    """A toy corpus [8, 24]: sequences that count upwards from a random token."""
    first = torch.randint(4, 48, (8, 1), generator=torch.Generator().manual_seed(seed))
    return 4 + (first + torch.arange(24)) % 44


EIGHT: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 8},
    "gpt_oss": {"num_local_experts": 8},
    "deepseek_v2": {"n_routed_experts": 8},
    "deepseek_v3": {"n_routed_experts": 8},
    "dbrx": {"ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 8, "moe_top_k": 2, "hidden_size": 32}},
}


def skewed(tiny: Tiny, family: str) -> Any:
    """A model whose routers prefer two of eight experts for nearly every token, as the mean hidden state points
    there."""
    model = tiny(family, **EIGHT.get(family, {"num_experts": 8})).train()
    seen: dict[int, torch.Tensor] = {}
    handles = [
        router.module.register_forward_pre_hook(
            lambda _, inputs, layer=router.layer: seen.update({layer: inputs[0].flatten(0, -2)})
        )
        for router in routers(model)
    ]
    with torch.no_grad():
        model(tokens(99))
        for handle in handles:
            handle.remove()
        for router in routers(model):
            direction = seen[router.layer].mean(dim=0)
            next(router.module.parameters())[:2] += 3.0 * direction / direction.norm()
            if router.bias is not None:
                router.bias[:2] += 0.3
    return model


def loads(model: Any) -> torch.Tensor:
    """The load of every expert in eight batches that are not trained on, [layers, experts]."""
    balance = Balance(model, only())
    for seed in range(90, 98):
        model(tokens(seed))
    balance.step()
    balance.remove()
    return balance.watch.load


def load(model: Any) -> float:
    """Max over mean load of the worst layer."""
    found = loads(model)
    return float((found / found.mean(dim=1, keepdim=True)).max())


def trained(model: Any, balancing: Balancing, steps: int = 100) -> list[float]:
    """The language model's losses of so many steps on the toy corpus, balanced so."""
    balance = Balance(model, balancing)
    optimizer = torch.optim.AdamW(model.parameters(), 6e-3)
    losses = []
    for step in range(steps):
        loss = model(input_ids=tokens(step), labels=tokens(step)).loss
        (loss + balance.loss()).backward()
        optimizer.step()
        optimizer.zero_grad()
        balance.step()
        losses.append(float(loss.detach()))
    balance.remove()
    return losses


@pytest.mark.parametrize(("family", "balancing"), [
    ("deepseek_v3", {"bias_speed": SPEED}),
    ("qwen3_moe", {"importance": 1.0}),
    ("qwen3_moe", {"smooth_load": 1.0, "noise": 0.5}),
    *(
        (family, {"load": 1.0}) for family in (
            "mixtral", "dbrx", "qwen2_moe", "qwen3_moe", "qwen3_moe_every_second", "olmoe", "gpt_oss", "jamba"
        )
    ),
    ("deepseek_v3", {"sequence": 1.0}),
    ("deepseek_v2", {"sequence": 1.0}),
])
def test_a_skewed_router_is_evened_out(tiny: Tiny, family: str, balancing: dict[str, float]) -> None:
    model = skewed(tiny, family)
    assert load(model) > 2.0  # of at most 4: two of eight experts are chosen
    losses = trained(model, only(**balancing))
    assert load(model) < 1.5
    assert losses[-1] < 0.7 * losses[0]


def test_what_is_not_balanced_stays_skewed(tiny: Tiny) -> None:
    model = skewed(tiny, "qwen3_moe")
    trained(model, only())
    assert load(model) > 2


def test_the_device_loss_evens_out_devices(tiny: Tiny) -> None:
    def by_device(model: Any) -> float:
        devices = loads(model).view(-1, 4, 2).sum(dim=2)
        return float((devices / devices.mean(dim=1, keepdim=True)).max())

    model = skewed(tiny, "deepseek_v2")
    assert by_device(model) > 2
    trained(model, only(device=1.0, devices=4))
    assert by_device(model) < 1.5


def test_the_z_loss_makes_logits_small(tiny: Tiny) -> None:
    def size(model: Any) -> float:
        found: list[torch.Tensor] = []
        handles = [
            handle for router in routers(model) for handle in router.watch(lambda seen: found.append(seen.logits))
        ]
        model(tokens(99))
        for handle in handles:
            handle.remove()
        return float(torch.stack(found).detach().logsumexp(dim=-1).square().mean())

    model = skewed(tiny, "qwen3_moe")
    before = size(model)
    trained(model, only(), 50)
    without = size(model)
    model = skewed(tiny, "qwen3_moe")
    trained(model, only(z=0.1), 50)
    assert size(model) < 0.5 * min(before, without)


def test_capacity_bounds_the_load_and_counts_the_dropped(tiny: Tiny) -> None:
    model = skewed(tiny, "qwen3_moe")
    balance = Balance(model, only(capacity=1.25))
    used: list[torch.Tensor] = []
    handles = [handle for router in routers(model) for handle in router.watch(
        lambda seen: used.append(torch.bincount(seen.chosen[seen.weights > 0], minlength=8)))]
    model(tokens(99))
    balance.step()
    figures = balance.watch.figures()
    most = 1.25 * 8 * 24 * 2 / 8
    assert all(int(count.max()) == most for count in used)
    assert figures["moe/dropped"] == pytest.approx(1 - sum(float(count.sum()) for count in used) / (2 * 8 * 24 * 2))
    assert figures["moe/dropped"] > 0.2
    used.clear()
    with torch.no_grad():
        model.eval()(tokens(99))  # evaluation: twice an even share
    assert max(int(count.max()) for count in used) == 2.0 * 8 * 24 * 2 / 8
    used.clear()
    with torch.no_grad():
        model(tokens(99), use_cache=True)  # decoding: no token depends on another row
    assert max(int(count.max()) for count in used) > 2.0 * 8 * 24 * 2 / 8
    for handle in handles:
        handle.remove()


def test_the_bias_moves_what_is_chosen_and_not_what_is_trained(tiny: Tiny) -> None:
    model = skewed(tiny, "deepseek_v3")
    balance = Balance(model, only(bias_speed=SPEED))
    model(tokens())
    assert balance.loss() == 0
    assert not balance.loss().requires_grad
    (router,) = routers(model)
    assert router.bias is not None
    assert not router.bias.requires_grad
    start = router.bias.clone()
    balance.step()
    moved = router.bias - start
    assert moved[0] == pytest.approx(-SPEED)
    assert ((moved.abs() - SPEED).abs() < 1e-6).logical_or(moved == 0).all()
    balance.step()  # nothing was seen since
    assert torch.equal(router.bias - start, moved)


def test_padding_probes_and_rollouts_do_not_count(tiny: Tiny) -> None:
    model = skewed(tiny, "deepseek_v3")
    balance = Balance(model, only(load=1.0))
    with torch.no_grad():
        model(tokens())
    model.eval()
    model(tokens())
    assert balance.loss() == 0
    model.train()
    mask = torch.ones(8, 24, dtype=torch.long)
    mask[3, 10:] = 0
    model(input_ids=tokens(), attention_mask=mask)
    padded = float(balance.loss().detach())
    balance.step()
    assert balance.watch.load.sum() == int(mask.sum()) * 2
    model(tokens()[torch.arange(8) != 3])  # the same without the row that has padding, and then with the row alone
    model(tokens()[3:4, :10])
    assert float(balance.loss().detach()) == pytest.approx(padded, rel=1e-5)  # two forwards are one batch
    balance.remove()
    model(tokens())
    assert balance.loss() == 0


def test_a_decoder_that_is_called_alone_counts_as_its_model_does(tiny: Tiny) -> None:
    """As where a vocabulary's logits are made of a slice of the tokens at a time."""
    model = tiny("qwen3_moe").train()
    balance = Balance(model, Balancing(load=0.5))
    ids = torch.randint(4, 48, (3, 12), generator=torch.Generator().manual_seed(0))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    model(**given)
    whole = float(balance.loss().detach())
    balance.step()
    figures = balance.watch.figures()
    model.get_decoder()(**given)
    assert float(balance.loss().detach()) == whole > 0
    balance.step()
    assert balance.watch.figures() == figures
    model(**given)
    model.get_decoder()(**given)
    assert len(balance._seen) == 2


def test_a_dense_model_is_left_alone_and_not_asked_for_more(tiny: Tiny) -> None:
    model = tiny("qwen3").train()
    balance = Balance(model)
    model(tokens())
    balance.step()
    assert balance.loss() == 0
    assert balance.watch.figures() == balance.watch.summary() == balance.watch.shown() == {}
    with pytest.raises(StageError, match=r"balance\.load: qwen3 models have no routers to balance"):
        Balance(model, Balancing(load=0.1))


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_are_the_makers(tiny: Tiny, family: str) -> None:
    balancing = Balance(tiny(family)).balancing
    expected = {"deepseek_v3": {"bias_speed": 1e-3, "sequence": 1e-4}, "deepseek_v2": {"sequence": 1e-3},
                "olmoe": {"load": 0.01},
                "dbrx": {"load": 0.01}}.get(family, {"load": 0.001})
    found = {name: value for name in (*OFF, "device", "capacity") if (value := getattr(balancing, name))}
    assert found == expected


@pytest.mark.parametrize(("family", "changed", "most"), [
    ("deepseek_v2", {}, 2),  # as many as a token takes experts
    ("deepseek_v2", {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 1}, 1),
    ("deepseek_v2", {"topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1}, 2),  # groups of 2 devices
    ("deepseek_v3", {"n_group": 4, "topk_group": 1}, 1),
    ("qwen3_moe", {}, 2),
])
def test_the_communication_loss_is_over_the_devices_that_a_token_may_reach(
    tiny: Tiny, family: str, changed: dict[str, Any], most: int
) -> None:
    model = tiny(family, **EIGHT.get(family, {"num_experts": 8}), **changed).train()
    balance = Balance(model, only(communication=1.0, devices=4))
    seen: list[Routing] = []
    for router in routers(model):
        router.watch(seen.append)
    model(tokens())
    expected = []
    for routing in seen:
        by_device = routers(model)[0].gating.affinities(routing.logits).view(8, 24, 4, 2).sum(dim=3).mean(dim=1)
        sent = torch.stack([(routing.chosen // 2 == device).any(dim=1) for device in range(4)], dim=1)
        shares = sent.view(8, 24, 4).float().mean(dim=1) * 4 / most
        expected.append(float((shares * by_device).sum(dim=1).mean()))
    assert float(balance.loss()) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_the_communication_loss_evens_out_what_devices_receive(tiny: Tiny) -> None:
    def received(model: Any) -> float:
        seen: list[Routing] = []
        handles = [handle for router in routers(model) for handle in router.watch(seen.append)]
        for seed in range(90, 98):
            model(tokens(seed))
        for handle in handles:
            handle.remove()
        chosen = torch.cat([routing.chosen for routing in seen])
        sent = torch.stack([(chosen // 2 == device).any(dim=1).sum() for device in range(4)]).float()
        return float(sent.max() / sent.mean())

    model = skewed(tiny, "deepseek_v2")
    assert received(model) > 1.9
    trained(model, only(communication=1.0, devices=4), 40)
    assert received(model) < 1.2  # without the loss: 1.7


@pytest.mark.parametrize(("family", "balancing", "said"), [
    ("qwen3_moe", Balancing(bias_speed=SPEED), "balance.bias_speed: qwen3_moe routers have no selection bias to move"),
    ("qwen3_moe", Balancing(device=0.1, devices=3), "balance.devices: 4 experts do not split evenly over 3 devices"),
    ("deepseek_v3", Balancing(smooth_load=0.1, noise=0.25), "balance.smooth_load: deepseek_v3 routers do not"),
])
def test_what_cannot_be_honoured_is_refused(tiny: Tiny, family: str, balancing: Balancing, said: str) -> None:
    with pytest.raises(StageError, match=said):
        Balance(tiny(family), balancing)


def test_a_layer_that_takes_every_expert_has_no_load_to_balance(tiny: Tiny) -> None:
    model = tiny("mixtral", num_experts_per_tok=4).train()
    balance = Balance(model)
    model(tokens())
    assert balance.loss() == 0
    balance.step()
    assert balance.watch.max_over_mean() == 1
    with pytest.raises(StageError, match=r"balance\.load: every token takes all 4 experts"):
        Balance(model, Balancing(load=0.1))
    Balance(model, Balancing(importance=0.1, z=0.1))


def test_a_recipe_that_balances_a_dense_model_is_refused_when_it_is_read() -> None:
    with pytest.raises(ValidationError, match=r"balance\.load: qwen3 models have no experts to balance"):
        Pretrain.model_validate({"steps": 1, "architecture": {"model_type": "qwen3"}, "balance": {"load": 0.1}})
    with pytest.raises(ValidationError, match="`device` or `communication` and `devices` need each other"):
        Balancing(device=0.1)
    with pytest.raises(ValidationError, match="`smooth_load` and `noise` need each other"):
        Balancing(smooth_load=0.1)
    with pytest.raises(ValidationError, match=r"balance\.smooth_load: deepseek_v3 routers do not choose by"):
        Pretrain.model_validate({"steps": 1, "architecture": {"model_type": "deepseek_v3"},
                                 "balance": {"smooth_load": 0.1, "noise": 0.1}})
