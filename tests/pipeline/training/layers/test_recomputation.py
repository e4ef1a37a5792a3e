"""Gradient checkpointing changes no gradient, also where experts are replayed, balanced or bounded."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.moe.replay import Replay
from pipeline.moe.routers import routers
from pipeline.training.layers.recomputation import checkpoint_layers

Tiny = Callable[..., Any]
FAMILIES = (
    "qwen3", "deepseek_v3", "qwen3_moe", "mixtral", "deepseek_v2", "qwen2_moe", "olmoe", "gpt_oss", "dbrx", "jamba",
)


def gradients(
    model: Any, balancing: Balancing, replayed: bool, checkpointed: bool, counts: list[Any]
) -> list[torch.Tensor]:
    ids = torch.randint(4, 48, (3, 11), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    balance, replay = Balance(model, balancing), Replay(model)
    if checkpointed:
        checkpoint_layers(model, [balance, replay])
    model.zero_grad()
    found = routers(model)
    recorded = torch.randint(
        0, found[0].experts, (3, 11, len(found), found[0].top_k), generator=torch.Generator().manual_seed(1)
    ) if replayed else None
    if recorded is None:
        loss = model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss
    else:
        recorded[..., 1] = (recorded[..., 0] + 1) % found[0].experts
        with replay.of(recorded):
            loss = model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss
    # The backward, in which layers are computed again, is outside of the replay's context.
    (loss + balance.loss()).backward()
    balance.step()
    counts.append((balance.watch.figures(), replay.tokens, replay.others))
    balance.remove()
    replay.remove()
    if checkpointed:
        model.gradient_checkpointing_disable()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("replayed", [False, True])
def test_gradients_and_counts_are_those_of_layers_computed_once(tiny: Tiny, family: str, replayed: bool) -> None:
    model = tiny(family).train()
    if replayed and not routers(model):
        pytest.skip("a dense model has no experts to replay")
    balancing = Balancing(load=0.5, z=0.1) if routers(model) else Balancing()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    counts: list[Any] = []
    plain = gradients(model, balancing, replayed, False, counts)
    model.load_state_dict(start)
    checkpointed = gradients(model, balancing, replayed, True, counts)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(plain, checkpointed, strict=True))
    assert counts[0] == counts[1]


def test_without_what_was_held_replayed_gradients_would_be_others(tiny: Tiny) -> None:
    model = tiny("qwen3_moe").train()
    plain = gradients(model, Balancing(load=0), True, False, [])
    model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        naive = gradients(model, Balancing(load=0), True, False, [])
    except (RuntimeError, torch.utils.checkpoint.CheckpointError):
        return  # torch saw that the second forward was another one
    assert not all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(plain, naive, strict=True))


def test_capacity_drops_the_same_choices_again(tiny: Tiny) -> None:
    model = tiny("qwen3_moe").train()
    counts: list[Any] = []
    balancing = Balancing(capacity=0.6, load=0.1)
    plain = gradients(model, balancing, False, False, counts)
    checkpointed = gradients(model, balancing, False, True, counts)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(plain, checkpointed, strict=True))
    assert counts[0] == counts[1]
