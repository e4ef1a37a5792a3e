"""Bombs graded inside trl's reward call: a real GRPOTrainer's step goes on as if nothing had been, gradient and all."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from pipeline.models.tokenizer import train_tokenizer
from tests.rewards.maths.bombs import BOMBS
from tests.rewards.maths.throwing import A_FEW, less_than, nothing_touched, throw

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def step(model: Any, tokenizer: Any, folder: Any, names: Sequence[str]) -> int:
    """One step of a GRPOTrainer whose reward call grades the bombs; the number of such calls."""
    calls = 0

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        nonlocal calls
        calls += 1
        throw(names)
        return [float(place % 2) for place in range(len(completion_ids))]

    config = GRPOConfig(
        output_dir=str(folder), max_steps=1, per_device_train_batch_size=4, num_generations=4, max_completion_length=8,
        beta=0.0, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, bf16=False,
        gradient_checkpointing=False,
    )  # fmt: skip
    rows = Dataset.from_list([{"prompt": "2 + 3 = "}] * 4)
    GRPOTrainer(model=model, args=config, reward_funcs=reward, train_dataset=rows, processing_class=tokenizer).train()
    return calls


@pytest.mark.parametrize("names", [A_FEW, pytest.param(tuple(BOMBS), marks=pytest.mark.faults)], ids=["a few", "all"])
def test_in_a_reward_call(tiny: Callable[..., Any], tmp_path: Any, names: Sequence[str]) -> None:
    tokenizer = train_tokenizer(["2 + 3 = 5 <think>So 3.</think><answer>3</answer>"], 96)
    model = tiny("qwen3", vocab_size=len(tokenizer)).train()
    before = model.get_input_embeddings().weight.detach().clone()
    with nothing_touched(), less_than(1):
        assert step(model, tokenizer, tmp_path, names) == 1
    assert (model.get_input_embeddings().weight != before).any()
