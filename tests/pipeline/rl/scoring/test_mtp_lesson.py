"""A module for multi-token prediction beside a policy: what it learns of rollouts, while the policy does not know."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from eval.engine import engine_for
from pipeline.models.mtp import module
from pipeline.models.mtp.section import Mtp
from pipeline.moe.balancing import Balancing
from pipeline.rl.batch import Batch
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.trainer import PolicyTrainer
from pipeline.serving.speculation import drafter_of
from pipeline.training.learning import Learning
from tests.pipeline.rl.test_trainer import PROBLEMS, TEMPERATURE, TOKENIZER, first, move, policy, trainer

Tiny = Callable[..., Any]


def trained(model: Any, folder: Any, learning: dict[str, Any], **plan: Any) -> PolicyTrainer:
    settings = Learning.model_validate({"learning_rate": 1e-3, **learning})
    made = trainer(model, folder, balancing=Balancing(), steps=4, learning=settings, **plan)
    made.train()
    return made


@pytest.mark.parametrize(("family", "learning"), [
    ("deepseek_v3", {}), ("qwen3", {"micro_batch_tokens": 100, "mixed_precision": True}),
    ("qwen3_moe", {"gradient_checkpointing": True, "micro_batch_tokens": 200}),
])
def test_the_policy_is_what_it_is_without_a_module(
    tiny: Tiny, tmp_path: Any, family: str, learning: dict[str, Any]
) -> None:
    alone, beside = policy(tiny, family), policy(tiny, family)
    module.begin(beside, seed=1)
    before = {name: value.clone() for name, value in module.begin(beside, seed=1).state_dict().items()}
    without = trained(alone, tmp_path, learning, replay="rollout")
    made = trained(beside, tmp_path, learning, replay="rollout", mtp=Mtp())
    assert all(torch.equal(value, beside.state_dict()[name]) for name, value in alone.state_dict().items())
    timeless = [[{name: value for name, value in row.items() if not name.startswith("train_")}
                 for row in one.state.log_history] for one in (without, made)]
    assert timeless[0] == timeless[1]
    assert made.mtp is not None
    after = made.mtp.module.state_dict()
    assert all(not torch.equal(value, after[name]) for name, value in before.items() if value.ndim == 2)
    assert 0 < made.mtp.figures()["mtp/loss"] < 20


def by_hand(model: Any, own: module.Mtp, batch: Batch) -> float:
    """The loss of each row, read by itself, at the temperature of the rollouts."""
    loss = 0.0
    for row in range(len(batch)):
        prompt = batch.prompt_ids[row][batch.prompt_mask[row] == 1]
        count = int(batch.completion_mask[row].sum())
        ids = torch.cat([prompt, batch.completion_ids[row, :count]]).unsqueeze(0)
        with torch.no_grad():
            hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
            logits = model.get_output_embeddings()(own(model, hidden[:, :-2], ids[:, 1:-1]))[0] / TEMPERATURE
        nll = -logits.log_softmax(-1).gather(1, ids[0, 2:, None])[:, 0]  # of the tokens from the third on
        loss += float((nll[len(prompt) - 2 :] * batch.drawn_mask[row, :count]).sum())
    return loss


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("family", ["deepseek_v3", "mistral"])
def test_it_learns_of_what_was_drawn(tiny: Tiny, tmp_path: Any, family: str, shared: bool) -> None:
    """By prompts that are read once, and by rows that are read whole; not of tokens that were forced."""
    model = policy(tiny, family)
    made = trainer(model, tmp_path, mtp=Mtp(weight=1.0), learning=Learning(gradient_checkpointing=not shared))
    batch = first(made)
    forced = torch.zeros_like(batch.completion_ids)
    forced[:, 1::3] = 1
    batch = replace(batch, forced=forced * batch.completion_mask)
    assert batch.prompt_mask.sum(1).unique().numel() > 1
    move(model)
    assert made.mtp is not None
    made.mtp.begin()
    made.loss(model, batch)
    found = made.mtp.take(torch.tensor(1.0))
    assert float(found.detach()) == pytest.approx(by_hand(model, made.mtp.module, batch), rel=1e-4)
    found.backward()  # type: ignore[no-untyped-call]
    assert all(one.grad is None for one in model.parameters())
    assert any(float(one.grad.abs().max()) > 0 for one in made.mtp.module.parameters() if one.grad is not None)


def test_rollouts_are_drafted_by_the_module_of_now(tiny: Tiny, tmp_path: Any) -> None:
    model = policy(tiny, "qwen3")
    start = {name: value.clone() for name, value in module.begin(model, seed=3).state_dict().items()}
    made = trained(model, tmp_path, {"learning_rate": 0.02}, mtp=Mtp(), speculate="mtp")

    def stood(drawing: Any) -> tuple[int, int]:
        tally = drawing.engine.tally
        before = tally.written, tally.read
        asked = [Visit(p.prompt, p.id, 3) for p in PROBLEMS[:4] for _ in range(4)]
        drawing.draw(asked, 0, lambda *_: None)
        return tally.written - before[0], tally.read - before[1]

    now = stood(made.rounds.drawing)
    fresh = replace(made.rounds.drawing, engine=engine_for(model, TOKENIZER, drafter=drafter_of(model, "mtp")))
    assert stood(fresh) == now
    assert made.mtp is not None
    made.mtp.module.load_state_dict(start)
    assert stood(made.rounds.drawing) != now
