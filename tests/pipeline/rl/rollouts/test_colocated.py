"""GRPO with vLLM in the training's processes: what the trainer makes of it. vLLM itself is not run here: a stand-in for
trl's class draws."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.engine.native import NativeEngine
from eval.engine.types import Request, Sampling
from pipeline.rl.rollouts import colocated
from pipeline.rl.trainer import PolicyTrainer
from pipeline.serving.section import Vllm
from pipeline.training.logprobs import completion_logprobs
from tests.pipeline.rl.test_trainer import TEMPERATURE, TOKENIZER, first, policy, trainer

Tiny = Callable[..., Any]
OFF = 0.05
"""What the stand-in's log-probabilities are off, as another implementation's would be."""


class StandIn:
    """In the place of trl's VLLMGeneration: the same arguments and answers."""

    def __init__(
        self, model: Any, mode: str, max_completion_length: int, generation_kwargs: dict[str, Any], **_: Any
    ) -> None:
        self.ends = generation_kwargs
        self.model, self.mode, self.most = model, mode, max_completion_length
        self.synced = 0

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, prompts: list[list[int]], images: None, num_generations: int) -> tuple[Any, ...]:
        assert all(prompts[place] == prompts[place - place % num_generations] for place in range(len(prompts)))
        engine = NativeEngine(self.model, {TOKENIZER.eos_token_id})
        drawn = [
            one for (one,) in engine.sample(
                [Request(p, [place]) for place, p in enumerate(prompts)], Sampling(self.most, TEMPERATURE)
            )
        ]
        return prompts, [one.ids for one in drawn], [[[value + OFF] for value in one.logprobs] for one in drawn], None


@pytest.fixture
def made(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PolicyTrainer:
    monkeypatch.setattr(colocated, "VLLMGeneration", StandIn)
    return trainer(policy(tiny, "qwen3_moe"), tmp_path, replay="policy", vllm=Vllm(), steps=4)


def test_the_old_policy_is_the_trainings_and_rollouts_are_weighed(made: PolicyTrainer) -> None:
    batch = first(made)
    kept = batch.completion_mask.bool()
    with torch.no_grad(), made.rounds.replay.of(batch):  # type: ignore[union-attr]
        again = completion_logprobs(made.policy, batch.ids, batch.mask, kept.shape[1], TEMPERATURE)[0]
    assert torch.allclose(batch.logprobs[kept], again[kept], atol=1e-4)
    assert batch.sampler_logprobs is not None
    off = batch.sampler_logprobs - batch.logprobs
    assert torch.allclose(off[kept], torch.tensor(OFF), atol=1e-4)
    # each token is weighed by e^(-OFF)
    weighed = made.plan.objective.loss(batch.logprobs, batch, made.counts)
    plain = made.plan.objective.loss(batch.logprobs, replace(
        batch, sampler_logprobs=None, advantages=batch.advantages * torch.exp(torch.tensor(-OFF))), made.counts)
    assert torch.allclose(weighed, plain, atol=1e-5)


def test_without_experts_to_replay_the_policy_scores_the_rollouts(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colocated, "VLLMGeneration", StandIn)
    made = trainer(policy(tiny, "qwen3"), tmp_path, vllm=Vllm())
    batch = first(made)
    kept = batch.completion_mask.bool()
    assert batch.sampler_logprobs is not None
    assert torch.allclose((batch.sampler_logprobs - batch.logprobs)[kept], torch.tensor(OFF), atol=1e-4)


def test_a_training_gives_vllm_the_weights_of_each_round(made: PolicyTrainer) -> None:
    start = {name: value.clone() for name, value in made.policy.state_dict().items()}
    made.train()
    engine = made.rounds.drawing.engine
    assert isinstance(engine, colocated.ColocatedEngine)
    assert engine.generation.ends == {"stop_token_ids": [TOKENIZER.eos_token_id]}
    assert engine.generation.synced == 2  # two rounds of two updates
    assert any(not torch.equal(value, start[name]) for name, value in made.policy.state_dict().items())
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in made.state.log_history if "loss" in row)
