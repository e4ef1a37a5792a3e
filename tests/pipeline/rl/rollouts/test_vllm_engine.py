"""GRPO with vLLM: the recipe's side and what the trainer makes of it. vLLM itself is not run here: a stand-in for trl's
class draws."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from eval.engine.native import NativeEngine
from eval.engine.types import Request, Sampling
from pipeline.rl.rollouts import vllm_engine
from pipeline.rl.rollouts.vllm import Vllm, missing
from pipeline.rl.trainer import PolicyTrainer
from pipeline.stages.grpo import Grpo
from pipeline.training.logprobs import completion_logprobs
from tests.pipeline.rl.test_trainer import TEMPERATURE, TOKENIZER, first, policy, trainer

Tiny = Callable[..., Any]
OFF = 0.05
"""What the stand-in's log-probabilities are off, as another implementation's would be."""


class StandIn:
    """In the place of trl's VLLMGeneration: the same arguments and answers."""

    def __init__(
        self, model: Any, mode: str, server_base_url: str | None, max_completion_length: int,
        generation_kwargs: dict[str, Any], **_: Any
    ) -> None:
        self.ends = generation_kwargs
        self.model, self.mode, self.url, self.most = model, mode, server_base_url, max_completion_length
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
    monkeypatch.setattr(vllm_engine, "VLLMGeneration", StandIn)
    return trainer(policy(tiny, "qwen3_moe"), tmp_path, replay="policy", vllm=Vllm(), steps=4)


def test_the_old_policy_is_the_trainings_and_rollouts_are_weighed(made: PolicyTrainer) -> None:
    batch = first(made)
    kept = batch.completion_mask.bool()
    with torch.no_grad(), made.replay.of(batch):  # type: ignore[union-attr]
        again = completion_logprobs(made.policy, batch.ids, batch.mask, kept.shape[1], TEMPERATURE)[0]
    assert torch.allclose(batch.logprobs[kept], again[kept], atol=1e-4)
    assert batch.sampler_logprobs is not None
    off = batch.sampler_logprobs - batch.logprobs
    assert torch.allclose(off[kept], torch.tensor(OFF), atol=1e-4)
    # each row is weighed by e^(-OFF) to the power of its length
    weighed = made.plan.objective.loss(batch.logprobs, batch, made.counts)
    plain = made.plan.objective.loss(batch.logprobs, replace(
        batch, sampler_logprobs=None, advantages=batch.advantages * torch.exp(-OFF * kept.sum(dim=1))), made.counts)
    assert torch.allclose(weighed, plain, atol=1e-5)


def test_without_experts_to_replay_the_policy_scores_the_rollouts(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_engine, "VLLMGeneration", StandIn)
    made = trainer(policy(tiny, "qwen3"), tmp_path, vllm=Vllm())
    batch = first(made)
    kept = batch.completion_mask.bool()
    assert batch.sampler_logprobs is not None
    assert torch.allclose((batch.sampler_logprobs - batch.logprobs)[kept], torch.tensor(OFF), atol=1e-4)


def test_a_training_gives_vllm_the_weights_of_each_round(made: PolicyTrainer) -> None:
    start = {name: value.clone() for name, value in made.policy.state_dict().items()}
    made.train()
    engine = made.drawing.engine
    assert isinstance(engine, vllm_engine.VllmEngine)
    assert engine.generation.ends == {"stop_token_ids": [TOKENIZER.eos_token_id]}
    assert engine.generation.synced == 2  # two rounds of two updates
    assert any(not torch.equal(value, start[name]) for name, value in made.policy.state_dict().items())
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in made.state.log_history if "loss" in row)


SOME = {"model": "base", "problems": ["word_problems:train"], "steps": 1}


def test_without_vllm_a_recipe_that_asks_for_it_is_one_line() -> None:
    if missing() is None:
        pytest.skip("vLLM is installed here")
    with pytest.raises(
        ValidationError, match=r"engine vllm needs the package vllm, which is not installed: pip install 'trl\[vllm\]'"
    ):
        Grpo(**SOME, engine="vllm")


@pytest.mark.parametrize(("fields", "expected"), [
    ({"engine": "vllm", "replay": "rollout"}, "does not tell which experts it took"),
    ({"engine": "vllm", "rollout_dtype": "bfloat16"}, "leave rollout_dtype out"),
    ({"vllm": {"gpu_memory": 0.5}}, "a vllm section is for engine: vllm"),
    ({"engine": "vllm", "vllm": {"mode": "server"}}, "mode server needs a url"),
    ({"engine": "vllm", "vllm": {"url": "http://localhost:8000"}}, "a url is for mode: server"),
])
def test_what_does_not_go_together_is_told(
    fields: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.stages.grpo.missing", lambda: None)
    with pytest.raises(ValidationError, match=expected):
        Grpo(**SOME, **fields)


def test_with_vllm_replay_is_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.stages.grpo.missing", lambda: None)
    assert Grpo(**SOME, engine="vllm")._replay == "policy"
    assert Grpo(**SOME, engine="vllm", replay="off")._replay is None
    assert Grpo(**SOME)._replay == "rollout"
