"""What a shared model cannot be trained in is said before anything is computed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from datasets import Dataset

from pipeline.contract.errors import StageError
from pipeline.data.rows import Collator
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.balance import Balance
from pipeline.training.learning import Learning, Optimizer
from pipeline.training.optimizer.schedule import Schedule
from pipeline.training.supervised import Plan, WeightedTrainer, config

Make = Callable[..., WeightedTrainer]


@pytest.fixture
def trainer(tiny: Callable[..., Any], context: Callable[..., Any]) -> Make:
    """trainer("adamw", dtype) -> a trainer in one process."""

    def make(
        optimizer: str, dtype: torch.dtype = torch.float32, family: str = "qwen3", mixed: bool | None = None
    ) -> WeightedTrainer:
        model = tiny(family).to(dtype)
        learning = Learning(optimizer=Optimizer.model_validate({"name": optimizer}), mixed_precision=mixed)
        plan = Plan(1, 1, learning, Schedule(1))
        return WeightedTrainer(
            model=model, args=config(context().out, plan, 0), plan=plan, balance=Balance(model),
            train_dataset=Dataset.from_list([{"input_ids": [4, 5], "weights": [1.0, 1.0]}]), data_collator=Collator(0),
            processing_class=train_tokenizer(["a"], 64),
        )

    return make


@pytest.mark.parametrize(("shared", "optimizer", "dtype", "said"), [
    ("is_deepspeed_enabled", "muon", torch.float32, "DeepSpeed cuts parameters into flat pieces, and muon"),
    ("is_deepspeed_enabled", "adafactor", torch.float32, "DeepSpeed cuts parameters into flat pieces, and adafactor"),
    ("is_deepspeed_enabled", "adamw", torch.bfloat16, "weights in bfloat16 have no copies in full precision"),
    ("is_fsdp_enabled", "adafactor", torch.float32, "adafactor does not run under FSDP"),
    ("is_fsdp_enabled", "adamw", torch.bfloat16, "weights in bfloat16 have no copies in full precision"),
])
def test_what_a_shared_model_cannot_be_trained_in(
    trainer: Make, shared: str, optimizer: str, dtype: torch.dtype, said: str
) -> None:
    made = trainer(optimizer, dtype)
    made.create_optimizer()  # in one process all of it can be
    setattr(made, shared, True)
    with pytest.raises(StageError, match=said):
        made.create_optimizer()


@pytest.mark.parametrize(("shared", "optimizer"), [
    ("is_deepspeed_enabled", "adamw"), ("is_fsdp_enabled", "adamw"), ("is_fsdp_enabled", "muon"),
])
def test_what_it_can(trainer: Make, shared: str, optimizer: str) -> None:
    made = trainer(optimizer)
    setattr(made, shared, True)
    made.create_optimizer()
    assert made.collective


def test_float16_is_not_trained_without_a_scaled_loss(trainer: Make) -> None:
    with pytest.raises(StageError, match=r"the model is in float16, .* set dtype: float32, or bfloat16"):
        trainer("adamw", torch.float16)


def test_experts_of_dbrx_are_not_computed_in_two_precisions(trainer: Make) -> None:
    with pytest.raises(StageError, match="dbrx models in full precision do not compute in bfloat16"):
        trainer("adamw", family="dbrx", mixed=True)
    for given in ({"mixed": False}, {"mixed": True, "dtype": torch.bfloat16}):
        trainer("adamw", family="dbrx", **given).train()


def test_transformers_still_adds_up_dbrxs_experts_in_another_precision(tiny: Callable[..., Any]) -> None:
    """Where this fails, `BaseTrainer.learn_by` has nothing to refuse any more."""
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="same scalar type"):
        tiny("dbrx")(input_ids=torch.tensor([[4, 5, 6]]))
