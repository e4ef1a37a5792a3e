"""A step that is split has the gradients of one that is not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig

from pipeline.data.rows import Collator
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.training.learning import Learning
from pipeline.training.micro_batches import most_tokens, split, tokens_within
from pipeline.training.optimizer.schedule import Schedule
from pipeline.training.supervised import Plan, WeightedTrainer, config

Tiny = Callable[..., Any]
Context = Callable[..., Any]
TOKENIZER = train_tokenizer(["a"], 64)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 100), st.booleans())
def test_every_row_is_in_one_part_and_no_part_is_too_large(lengths: list[int], most: int, ordered: bool) -> None:
    order = list(range(len(lengths)))[::-1] if ordered else None
    parts = split(lengths, most, order)
    assert sorted(place for part in parts for place in part) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in part) <= most or len(part) == 1 for part in parts)
    if sum(lengths) <= most:
        assert len(parts) == 1
    elif ordered:
        assert [place for part in parts for place in part] == order


def gradients(model: Any, ctx: Any, rows: list[dict[str, Any]], most: int, balancing: Balancing) -> Any:
    plan = Plan(1, len(rows), Learning(micro_batch_tokens=most), Schedule(1))
    trainer = WeightedTrainer(
        model=model, args=config(ctx.out, plan, 0), train_dataset=Dataset.from_list(rows), data_collator=Collator(0),
        processing_class=TOKENIZER, plan=plan, balance=Balance(model, balancing),
    )
    model.zero_grad()
    forwards: list[int] = []
    handle = model.register_forward_hook(lambda *_: forwards.append(1))
    loss = trainer.training_step(model, Collator(0)(rows))
    handle.remove()
    trainer.balance.remove()
    del model.forward
    return loss, [p.grad.clone() for p in model.parameters() if p.grad is not None], len(forwards)


@pytest.mark.parametrize("family", ["qwen3", "deepseek_v3"])
# The fixtures make a model and a folder, which are as good the second time.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6, deadline=None)
@given(data=st.data())
def test_the_gradients_are_the_same_however_a_step_is_split(
    tiny: Tiny, context: Context, family: str, data: st.DataObject
) -> None:
    lengths = data.draw(st.lists(st.integers(3, 24), min_size=4, max_size=4))
    generator = torch.Generator().manual_seed(sum(lengths))
    rows = [
        {"input_ids": torch.randint(4, 48, (n,), generator=generator).tolist(), "weights": [0.2, *[1.0] * (n - 1)]}
        for n in lengths
    ]
    none = Balancing(load=0, sequence=0, bias_speed=0)
    model = tiny(family).train()
    whole = gradients(model, context(), rows, 10**6, none)
    for most in (1, max(lengths), sum(lengths) // 2):
        found = gradients(model, context(), rows, most, none)
        assert found[2] > 1
        assert torch.allclose(whole[0], found[0], rtol=1e-5)
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(whole[1], found[1], strict=True))


def test_an_auxiliary_loss_is_the_mean_over_parts(tiny: Tiny, context: Context) -> None:
    """Equal rows have equal auxiliary losses, so that parts of them have the gradient of the whole."""
    rows = [{"input_ids": list(range(4, 20)), "weights": [1.0] * 16}] * 4
    model, balancing = tiny("qwen3_moe").train(), Balancing(load=0.5, z=0.1)
    whole, split_up = (gradients(model, context(), rows, most, balancing) for most in (10**6, 16))
    assert (whole[2], split_up[2]) == (1, 4)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(whole[1], split_up[1], strict=True))


@pytest.mark.parametrize("family", ["qwen3", "deepseek_v3", "qwen3_moe", "mixtral", "dbrx", "gpt_oss", "jamba"])
def test_larger_models_hold_fewer_tokens(tiny: Tiny, family: str) -> None:
    cpu = torch.device("cpu")
    layers = "n_layers" if family == "dbrx" else "num_hidden_layers"
    config = tiny(family).config
    few = most_tokens(config, False, cpu)
    assert few > 100_000  # none of the quickstart's batches is split
    assert most_tokens(config, True, cpu) > few
    setattr(config, layers, 10 * getattr(config, layers))
    assert few // 11 < most_tokens(config, False, cpu) < few // 9


def test_families_call_their_width_differently() -> None:
    few, many = (AutoConfig.for_model("gpt2", n_embd=width) for width in (512, 64))
    assert 0 < tokens_within(2**30, few, False) < tokens_within(2**30, many, False)
