"""GRPO with vLLM: the recipe's side and what trl's trainer makes of it. vLLM itself is not run here: a stand-in for trl's class draws."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from pydantic import ValidationError
from trl import GRPOConfig, GRPOTrainer
from trl.trainer import grpo_trainer

from eval.engine.native import NativeEngine
from eval.engine.types import Request, Sampling
from eval.problems import load
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.balance import Balance
from pipeline.rl import vllm_engine
from pipeline.rl.policy import PolicyTrainer
from pipeline.rl.vllm_engine import Vllm
from pipeline.stages.grpo import Grpo

Tiny = Callable[..., Any]
PROBLEMS = load("word_problems:train", 4)
TOKENIZER = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in PROBLEMS], 96)
OFF = 0.05
"""What the stand-in's log-probabilities are off, as another implementation's would be."""


class StandIn:
    """In the place of trl's VLLMGeneration: the same arguments and answers."""

    def __init__(self, model: Any, mode: str, server_base_url: str | None, max_completion_length: int, **_: Any) -> None:
        self.model, self.mode, self.url, self.most = model, mode, server_base_url, max_completion_length
        self.synced = 0

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, prompts: list[list[int]], images: None, num_generations: int) -> tuple[Any, ...]:
        assert all(prompts[place] == prompts[place - place % num_generations] for place in range(len(prompts)))
        engine = NativeEngine(self.model, TOKENIZER.eos_token_id)
        drawn = [one for (one,) in engine.sample([Request(p, [place]) for place, p in enumerate(prompts)], Sampling(self.most))]
        return prompts, [one.ids for one in drawn], [[[value + OFF] for value in one.logprobs] for one in drawn], None


@pytest.fixture
def trainer(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PolicyTrainer:
    monkeypatch.setattr(grpo_trainer, "VLLMGeneration", StandIn)
    model = tiny("qwen3_moe", vocab_size=len(TOKENIZER), initializer_range=0.15).train()
    with torch.no_grad():
        model.get_input_embeddings().weight[TOKENIZER.eos_token_id] *= 4
    model.save_pretrained(tmp_path / "start")
    TOKENIZER.save_pretrained(tmp_path / "start")
    model = pretrained.load(tmp_path / "start")[0].train()
    return PolicyTrainer(
        model=model,
        args=GRPOConfig(
            output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=8, steps_per_generation=2, gradient_accumulation_steps=1,
            num_generations=4, max_completion_length=16, beta=0.0, loss_type="dapo", learning_rate=1e-3, save_strategy="no", report_to=[],
            disable_tqdm=True, use_cpu=True, bf16=False, gradient_checkpointing=False, shuffle_dataset=False, logging_steps=1,
            **Vllm().options(),
        ),
        reward_funcs=lambda completion_ids, **_: [float(len(ids) % 2) for ids in completion_ids],
        train_dataset=Dataset.from_list([{"prompt": p.prompt, "problem": p.id, "visit": 0} for p in [*PROBLEMS, *PROBLEMS]]),
        processing_class=TOKENIZER, seed_parts=(0, "test"), open_thinking=False, balance=Balance(model), replay="policy",
    )


def test_the_old_policy_is_the_trainings_and_trl_corrects_for_the_rollouts(trainer: PolicyTrainer) -> None:
    trainer.current_gradient_accumulation_steps = 1
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    kept = batch["completion_mask"].bool()
    with torch.no_grad(), trainer.replay.of(batch):  # type: ignore[union-attr]
        again, _, _ = GRPOTrainer._get_per_token_logps_and_entropies(
            trainer, trainer.model, torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1), kept.shape[1])
    assert torch.allclose(batch["old_per_token_logps"][kept], again[kept], atol=1e-4)
    off = batch["sampling_per_token_logps"] - batch["old_per_token_logps"]
    assert torch.allclose(off[kept], torch.tensor(OFF), atol=1e-4)
    assert (batch["importance_sampling_ratio"] != 1).any()


def test_a_training_gives_vllm_the_weights_of_each_round(trainer: PolicyTrainer) -> None:
    start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert trainer.vllm_generation.synced == 2  # two rounds of two updates
    assert any(not torch.equal(value, start[name]) for name, value in trainer.model.state_dict().items())
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in trainer.state.log_history if "loss" in row)


SOME = {"model": "base", "problems": ["word_problems:train"], "steps": 1}


def test_without_vllm_a_recipe_that_asks_for_it_is_one_line() -> None:
    if vllm_engine.missing() is None:
        pytest.skip("vLLM is installed here")
    with pytest.raises(ValidationError, match=r"engine vllm needs the package vllm, which is not installed: pip install 'trl\[vllm\]'"):
        Grpo(**SOME, engine="vllm")


@pytest.mark.parametrize(("fields", "expected"), [
    ({"engine": "vllm", "replay": "rollout"}, "does not tell which experts it took"),
    ({"engine": "vllm", "rollout_dtype": "bfloat16"}, "leave rollout_dtype out"),
    ({"vllm": {"gpu_memory": 0.5}}, "a vllm section is for engine: vllm"),
    ({"engine": "vllm", "vllm": {"mode": "server"}}, "mode server needs a url"),
    ({"engine": "vllm", "vllm": {"url": "http://localhost:8000"}}, "a url is for mode: server"),
])
def test_what_does_not_go_together_is_told(fields: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.stages.grpo.missing", lambda: None)
    with pytest.raises(ValidationError, match=expected):
        Grpo(**SOME, **fields)


def test_with_vllm_replay_is_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.stages.grpo.missing", lambda: None)
    assert Grpo(**SOME, engine="vllm")._replay == "policy"
    assert Grpo(**SOME, engine="vllm", replay="off")._replay is None
    assert Grpo(**SOME)._replay == "rollout"
