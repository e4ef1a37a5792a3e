"""Supervised training: the weighted mean over tokens, however it is split, and a schedule that a probe can lengthen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from pipeline.contract.errors import StageError
from pipeline.data.rows import Collator, Row
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.training import logprobs, supervised
from pipeline.training.fp8.section import Fp8
from pipeline.training.learning import Learning, Optimizer
from pipeline.training.on_processors import PATIENCE
from pipeline.training.optimizer.schedule import Schedule
from pipeline.training.supervised import Plan, Probe, WeightedTrainer, config, train

Tiny = Callable[..., Any]
Context = Callable[..., Any]


def rows(count: int) -> list[Row]:
    generator = torch.Generator().manual_seed(3)
    made = []
    for place in range(count):
        length = 4 + 5 * (place % 4)
        ids = torch.randint(4, 48, (length,), generator=generator).tolist()
        made.append({"input_ids": ids, "weights": [0.1] * (length // 3) + [0.0] + [1.0] * (length - length // 3 - 1)})
    return made


@pytest.fixture
def tokenizer() -> Any:
    return train_tokenizer(["a"], 64)


MUON = Learning(learning_rate=0.01, adam_learning_rate=1e-3)
NONE = Balancing(load=0, sequence=0)


def plan(steps: int, **changed: Any) -> Plan:
    return Plan(**{"steps": steps, "batch_size": 4, "learning": MUON, "schedule": Schedule(steps), **changed})


def test_processes_wait_for_a_large_checkpoint_on_a_slow_disk(tmp_path: Path) -> None:
    """As long as in `grpo`; transformers' own half an hour ended the stage."""
    assert config(tmp_path, plan(1), 0).ddp_timeout == PATIENCE > 2 * 3600


@pytest.mark.parametrize("many", [False, True])
def test_every_forward_is_in_the_precision_of_the_training(
    tiny: Tiny, tokenizer: Any, context: Context, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """Also where logits are so many that the decoder and the head are called by themselves."""
    if many:
        monkeypatch.setattr(logprobs, "LOGITS", 0)
    model, seen = tiny("qwen3_moe"), set()
    model.model.layers[0].self_attn.o_proj.register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    learning = Learning(learning_rate=0.01, adam_learning_rate=1e-3, mixed_precision=True)
    train(context(), model, tokenizer, rows(8), plan(2, learning=learning, balance=NONE))
    assert seen == {torch.bfloat16}


def loss_and_gradients(
    model: Any, tokenizer: Any, ctx: Any, balancing: Balancing = NONE
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    trainer = WeightedTrainer(
        model=model,
        args=config(ctx.out, plan(1), 0),
        train_dataset=Dataset.from_list(rows(8)),
        data_collator=Collator(0),
        processing_class=tokenizer,
        plan=plan(1),
        balance=Balance(model, balancing),
    )
    model.zero_grad()
    loss = trainer.compute_loss(model, Collator(0)(rows(8)))
    loss.backward()
    del model.forward
    return loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(("family", "balancing"), [
    ("deepseek_v3", Balancing(importance=0.5, sequence=0.5)), ("qwen3_moe", Balancing(load=0.5, z=0.1)),
    ("qwen3", NONE),
])
def test_chunks_change_nothing(
    tiny: Tiny, tokenizer: Any, context: Context, family: str, balancing: Balancing, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(family).train()
    loss, gradients = loss_and_gradients(model, tokenizer, context(), balancing)
    for count in (2, 4, 8):
        monkeypatch.setattr(supervised, "chunks", lambda lengths, n=count: torch.tensor(lengths).argsort().chunk(n))
        other, others = loss_and_gradients(model, tokenizer, context(), balancing)
        assert torch.allclose(loss, other, rtol=1e-5)
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(gradients, others, strict=True))


def test_where_forwards_are_collective_a_part_is_one_forward(
    tiny: Tiny, tokenizer: Any, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each forward is one of all processes, so that each must make as many: `as_many` sees to parts."""
    model, forwards = tiny("qwen3"), []
    model.get_input_embeddings().register_forward_hook(lambda *_: forwards.append(1))
    monkeypatch.setattr(supervised, "chunks", lambda lengths: [[place] for place in range(len(lengths))])
    whole = loss_and_gradients(model, tokenizer, context())
    assert len(forwards) == 8
    monkeypatch.setattr(WeightedTrainer, "collective", True)
    collective = loss_and_gradients(model, tokenizer, context())
    assert len(forwards) == 9
    assert torch.allclose(whole[0], collective[0], rtol=1e-5)


def test_eight_bits_are_not_shared_out(
    tiny: Tiny, tokenizer: Any, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WeightedTrainer, "collective", True)
    with pytest.raises(StageError, match="fp8: products are computed with whole matrices, which FSDP"):
        train(context(), tiny("qwen3"), tokenizer, rows(8), plan(2, fp8=Fp8()))


def test_the_familys_coefficient_is_still_in_the_config(tiny: Tiny, tokenizer: Any, context: Context) -> None:
    """trl 1.16 writes the coefficient that it uses itself, none here, over the model's own."""
    model = tiny("olmoe").train()
    loss_and_gradients(model, tokenizer, context())
    assert model.config.router_aux_loss_coef == 0.01
    assert not model.config.output_router_logits


def test_the_loss_is_the_weighted_mean_over_tokens(tiny: Tiny, tokenizer: Any, context: Context) -> None:
    model = tiny("qwen3").train()
    loss, _ = loss_and_gradients(model, tokenizer, context())
    total, weight = torch.zeros(()), 0.0
    for row in rows(8):
        ids = torch.tensor(row["input_ids"])
        logprobs = torch.log_softmax(model(ids.unsqueeze(0)).logits[0, :-1], -1).gather(-1, ids[1:, None])[:, 0]
        weights = torch.tensor(row["weights"])[1:]
        total, weight = total - (logprobs * weights).sum(), weight + float(weights.sum())
    assert torch.allclose(loss, total / weight, rtol=1e-5)


def test_rows_are_taken_in_their_order_and_learned(tiny: Tiny, tokenizer: Any, context: Context) -> None:
    ctx = context()
    model = tiny("deepseek_v3")
    metrics = train(ctx, model, tokenizer, rows(4) * 30, plan(30))
    losses = [row["loss"] for row in ctx.rows if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert metrics["steps"] == 30
    assert metrics["tokens"] == 30 * sum(len(row["input_ids"]) for row in rows(4))
    assert ctx.seen[-1] == (30, 30)
    assert "forward" not in vars(model)  # trl's head was taken off again


def test_the_last_steps_are_logged_too(tiny: Tiny, tokenizer: Any, context: Context) -> None:
    ctx = context()
    metrics = train(ctx, tiny("qwen3"), tokenizer, rows(4) * 13, plan(13))
    assert [row["step"] for row in ctx.rows if "loss" in row] == [10, 13]
    assert metrics["loss"] == ctx.rows[-1]["loss"]


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3"])
def test_training_twice_gives_the_same_model(tiny: Tiny, tokenizer: Any, context: Context, family: str) -> None:
    models = [tiny(family), tiny(family)]
    for model in models:
        train(context(), model, tokenizer, rows(12), plan(3))
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_weight_decides_what_is_learned(tiny: Tiny, tokenizer: Any, context: Context) -> None:
    model = tiny("qwen3")
    learned, ignored = [7, 8, 9, 10, 11], [20, 21, 22, 23, 24]
    batch = [{"input_ids": ids, "weights": [weight] * 5} for ids, weight in ((learned, 1.0), (ignored, 0.0))] * 2
    quick = Learning(learning_rate=0.05, adam_learning_rate=0.02)
    train(context(), model, tokenizer, batch * 30, plan(30, learning=quick))
    model.eval()
    with torch.no_grad():
        likeliest = [model(torch.tensor([ids[:4]])).logits[0].argmax(-1).tolist() for ids in (learned, ignored)]
    assert likeliest[0] == learned[1:]
    assert likeliest[1] != ignored[1:]


@pytest.mark.parametrize(
    ("skills", "steps"),
    [([0.9], 4), ([0.1, 0.9], 6), ([0.1, 0.1, 0.1, 0.1, 0.1], 8)],
)
def test_a_missed_probe_asks_for_another_round(
    tiny: Tiny, tokenizer: Any, context: Context, skills: list[float], steps: int
) -> None:
    answers = iter(skills)
    probe = Probe(lambda: {"skill": next(answers)}, every=100, at_least=0.5)
    most = plan(8, schedule=Schedule(steps=4, more=2, warmup=1))
    metrics = train(context(), tiny("qwen3"), tokenizer, rows(32), most, probe)
    assert metrics["steps"] == steps


@pytest.mark.parametrize(("rate", "told"), [(1e-3, 0), (0.9, 1)])
def test_first_steps_that_raise_the_loss_are_told(
    tiny: Tiny, tokenizer: Any, context: Context, rate: float, told: int
) -> None:
    ctx = context()
    high = Learning(learning_rate=rate, optimizer=Optimizer(name="adamw"))
    train(ctx, tiny("qwen3"), tokenizer, rows(48), plan(12, learning=high, schedule=Schedule(12, warmup=0)))
    found = [note for note in ctx.notes if note.startswith("the first 10 steps raised the loss from ")]
    assert len(found) == told


def test_a_gradient_that_is_no_number_ends_the_training_before_it_is_applied(
    tiny: Tiny, tokenizer: Any, context: Context
) -> None:
    model, backwards = tiny("qwen3"), iter([1.0, 1.0, torch.inf])
    weight = model.model.norm.weight
    # A model whose gradient runs over in its third step.
    weight.register_hook(lambda gradient: gradient * next(backwards))
    ctx = context()
    one_part = plan(4, learning=MUON.model_copy(update={"micro_batch_tokens": 10_000}))
    with pytest.raises(StageError, match=r"the gradient of step 3 is (inf|nan): lower learning_rate"):
        train(ctx, model, tokenizer, rows(16), one_part)
    assert ctx.seen[-1] == (2, 4)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
