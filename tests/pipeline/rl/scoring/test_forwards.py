"""Prompts that are read once for their group: the same loss, gradients and routing as where each row reads its own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.moe.balancing import Balancing
from pipeline.moe.routers import routers
from pipeline.rl.batch import Batch
from pipeline.rl.scoring.forwards import SharedPrompts
from pipeline.rl.trainer import PolicyTrainer
from pipeline.training import logprobs
from tests.conftest import TINY
from tests.pipeline.rl.test_trainer import alternating, first, loss_and_gradients, move, policy, trainer

Tiny = Callable[..., Any]
LOSSES = Balancing(importance=0.1, load=0.1, z=0.1, sequence=0.1)


def reads(model: Any, compute: Callable[[], Any]) -> list[torch.Size]:
    """The shapes [rows, seq] of what forwards in `compute` read."""
    read: list[torch.Size] = []
    handle = model.get_input_embeddings().register_forward_hook(lambda _, inputs, __: read.append(inputs[0].shape))
    compute()
    handle.remove()
    return read


def both_ways(made: PolicyTrainer, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any, Any]]:
    """Loss, gradients and the load of experts, with prompts shared and without."""
    model, found = made.model, []
    for shared in (True, False):
        with monkeypatch.context() as patched:
            if not shared:
                patched.setattr(SharedPrompts, "fit", lambda *_: False)
            loss, gradients = loss_and_gradients(lambda: made.loss(model, batch.rows(made.moving(batch))), model)
            load = made.balance._load
            made.balance._load = None
            found.append((loss, gradients, load))
    return found


@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("family", sorted(set(TINY) - {"jamba"}))
def test_loss_gradients_and_load_are_those_of_whole_rows(
    tiny: Tiny, tmp_path: Any, family: str, monkeypatch: pytest.MonkeyPatch, sliced: bool
) -> None:
    if sliced:  # a vocabulary whose logits cannot be held at once
        monkeypatch.setattr(logprobs, "LOGITS", 0)
        monkeypatch.setattr(logprobs, "SLICE", 500)
    model = policy(tiny, family)
    mixture = bool(routers(model))
    made = trainer(model, tmp_path, balancing=LOSSES if mixture else Balancing())
    batch = first(made)
    move(model)
    (loss, gradients, load), (whole_loss, whole_gradients, whole_load) = both_ways(made, batch, monkeypatch)
    assert torch.allclose(loss, whole_loss, rtol=1e-4, atol=1e-6)
    assert max(float(g.abs().max()) for g in whole_gradients) > 1e-3
    for one, other in zip(gradients, whole_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=2e-5)
    if mixture:
        assert whole_load.sum() > 0
        assert torch.equal(load, whole_load)


def test_a_prompt_is_read_once(tiny: Tiny, tmp_path: Any) -> None:
    model = policy(tiny, "deepseek_v3")
    made = trainer(model, tmp_path, rewards=alternating)
    batch = first(made)
    rows, longest = batch.completion_mask.shape
    prompts, *completions = reads(model, lambda: made.loss(model, batch.rows(made.moving(batch))))
    assert prompts == (4, batch.prompt_ids.shape[1])  # of four groups, dealt at random to two minibatches of eight rows
    assert sum(shape[0] for shape in completions) == rows
    assert all(shape[1] <= longest for shape in completions)


def test_completions_of_one_token(tiny: Tiny, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(policy(tiny, "qwen3_moe"), tmp_path, balancing=LOSSES)
    some = first(made)
    batch = replace(some, completion_ids=some.completion_ids[:, :1], completion_mask=some.completion_mask[:, :1],
                    logprobs=some.logprobs[:, :1])
    (loss, gradients, load), (whole_loss, whole_gradients, whole_load) = both_ways(made, batch, monkeypatch)
    assert torch.allclose(loss, whole_loss, rtol=1e-4, atol=1e-6)
    assert torch.equal(load, whole_load)
    for one, other in zip(gradients, whole_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("source", ["rollout", "policy"])
def test_replayed_experts_are_those_of_whole_rows(
    tiny: Tiny, tmp_path: Any, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(policy(tiny, "qwen3_moe"), tmp_path, replay=source, balancing=LOSSES)
    batch = first(made)
    move(made.model)
    assert made.rounds.replay
    made.rounds.replay.replay.counted()
    (loss, gradients, load), (whole_loss, whole_gradients, whole_load) = both_ways(made, batch, monkeypatch)
    assert made.rounds.replay.replay.others > 0  # the policy has moved, so that replay has something to do
    assert torch.allclose(loss, whole_loss, rtol=1e-4, atol=1e-6)
    assert torch.equal(load, whole_load)
    for one, other in zip(gradients, whole_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=2e-5)


def test_what_does_not_fit_is_read_whole(tiny: Tiny, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = policy(tiny, "qwen3_moe")
    made = trainer(model, tmp_path)
    batch = first(made)

    def fits(made: PolicyTrainer, batch: Batch) -> bool:
        return SharedPrompts.fit(model, batch, made.balance)

    assert fits(made, batch)
    assert not fits(made, batch.rows(torch.tensor([0])))
    assert len({tuple(row.tolist()) for row in batch.prompt_ids}) < len(batch)
    made.balance.remove()
    assert not fits(trainer(model, tmp_path, balancing=Balancing(capacity=1.25)), batch)
    monkeypatch.setattr(logprobs, "LOGITS", batch.completion_ids.numel() * model.config.vocab_size - 1)
    assert fits(made, batch)  # by the head on a slice of the tokens at a time
    model.config.logits_scaling = 2.0
    assert not fits(made, batch)


def test_prompts_are_not_shared_where_layers_hand_on_a_state(tiny: Tiny, tmp_path: Any) -> None:
    model = policy(tiny, "jamba")
    made = trainer(model, tmp_path)
    assert not SharedPrompts.fit(model, first(made), made.balance)


def test_nor_where_some_layers_are_no_attention(tiny: Tiny, tmp_path: Any) -> None:
    """As in LFM2, whose cache is made by its config and not by the first forward."""
    model = policy(tiny, "qwen3")
    made = trainer(model, tmp_path)
    batch = first(made)
    assert SharedPrompts.fit(model, batch, made.balance)
    model.config.layer_types = ["full_attention", "conv"]
    assert not SharedPrompts.fit(model, batch, made.balance)


def test_where_forwards_are_collective_a_part_is_one_forward(
    tiny: Tiny, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each forward is one of all processes, so that each must make as many."""
    model = policy(tiny, "qwen3")
    made = trainer(model, tmp_path)
    batch = first(made)
    assert len(reads(model, lambda: made.loss(model, batch.rows(made.moving(batch))))) > 1
    monkeypatch.setattr(made, "is_fsdp_enabled", True)
    assert len(reads(model, lambda: made.loss(model, batch.rows(made.moving(batch))))) == 1
