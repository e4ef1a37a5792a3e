"""Training and asking with a server: weights arrive, experts are replayed, and a sync that fails is not "done"."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.engine.types import Request, Sampling
from pipeline.contract.errors import StageError
from pipeline.moe.routers import routers
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.trainer import PolicyTrainer
from pipeline.serving.section import Vllm
from pipeline.serving.served import OnDemand, Served, divergence_of, served
from tests.pipeline.rl.test_trainer import TOKENIZER, first, policy, trainer
from tests.vllm_stand_in import Fault, StandIn, served_by, swap_experts

Tiny = Callable[..., Any]


@contextmanager
def on_server(
    model: Any, start: Any, folder: Path, *, experts: bool = False, fault: Fault | None = None
) -> Iterator[tuple[StandIn, Served, Vllm]]:
    """A server that begins with the model `start`."""
    stand_in = StandIn(start, experts, fault)
    with served_by(stand_in) as url:
        vllm = Vllm(url=url)
        with served(model, TOKENIZER, vllm, folder, experts=experts) as one:
            yield stand_in, one, vllm


def training(model: Any, folder: Path, one: Served, vllm: Vllm, **plan: Any) -> PolicyTrainer:
    return trainer(model, folder, vllm=vllm, served=one, **plan)


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe", "deepseek_v3"])
def test_a_training_draws_from_the_policy_of_each_round(family: str, tiny: Tiny, tmp_path: Path) -> None:
    model = policy(tiny, family)
    with on_server(model, tiny(family, vocab_size=len(TOKENIZER)), tmp_path / "v") as (stand_in, one, vllm):
        made = training(model, tmp_path, one, vllm, steps=4, replay="policy")
        made.train()
        assert (stand_in.loads, stand_in.forgotten) == (2, 2)  # two rounds of two updates
        assert made.gap is not None
        assert made.gap.last["vllm/kl"] < 1e-6
        assert made.gap.last["vllm/importance"] == pytest.approx(1, abs=1e-3)
        assert made.gap.last["vllm/truncated"] == 0
        one.refresh()
        for name, value in model.state_dict().items():
            assert torch.equal(value, stand_in.model.state_dict()[name]), name
    assert not (tmp_path / "v" / "weights").exists()


def test_experts_that_the_server_took_are_taken_again(tiny: Tiny, tmp_path: Path) -> None:
    model = policy(tiny, "deepseek_v3")
    with on_server(model, model, tmp_path / "v", experts=True) as (_, one, vllm):
        made = training(model, tmp_path, one, vllm, replay="rollout")
        batch = first(made)
    assert batch.experts is not None
    assert batch.experts.shape[2] == len(routers(model))
    kept = batch.completion_mask.bool()
    assert (batch.completion_experts[kept][:-1] >= 0).any()  # type: ignore[index]
    assert torch.allclose(batch.logprobs[kept], batch.sampler_logprobs[kept], atol=1e-4)  # type: ignore[index]


def test_a_fault_in_the_sync_stops_the_training(tiny: Tiny, tmp_path: Path) -> None:
    model = policy(tiny, "qwen3_moe")
    with torch.no_grad():
        for parameter in routers(model)[0].users.parameters():
            parameter.mul_(5)  # so that it matters which expert is taken, as in a trained model
    with (
        on_server(model, model, tmp_path / "v", fault=swap_experts) as (_, one, vllm),
        pytest.raises(StageError, match=r"vLLM does not draw from the policy: .* the weights have not arrived whole"),
    ):
        training(model, tmp_path, one, vllm, replay="policy").train()


def test_a_model_that_is_asked_is_held_against_the_server_once(tiny: Tiny, tmp_path: Path) -> None:
    model, other = policy(tiny, "qwen3"), policy(tiny, "qwen3")

    def spoil(served: Any) -> None:
        with torch.no_grad():
            served.get_input_embeddings().weight.mul_(-1)

    asked = [Request([5, 6, 7], [1]), Request([8, 9], [2])]
    with on_server(model, model, tmp_path / "v") as (stand_in, one, vllm):
        engine = OnDemand(lambda: one, vllm)
        assert stand_in.loads == 0
        engine.sample(asked, Sampling(4))
        assert stand_in.loads == 1
        once = len(stand_in.bodies)
        engine.sample(asked, Sampling(4))
        assert len(stand_in.bodies) == once + 2
        assert divergence_of(one, [one.prompt for one in asked]) < 1e-6
    with (
        on_server(model, other, tmp_path / "v", fault=spoil) as (_, one, vllm),
        pytest.raises(StageError, match="does not draw from this model"),
    ):
        OnDemand(lambda: one, vllm).sample(asked, Sampling(4))


def test_a_server_that_is_gone_stops_the_stage_in_one_line(tiny: Tiny, tmp_path: Path) -> None:
    model = policy(tiny, "qwen3")
    vllm = Vllm(url="http://127.0.0.1:9")
    with served(model, TOKENIZER, vllm, tmp_path) as one, pytest.raises(StageError, match="does not answer"):
        one.refresh()
    assert not (tmp_path / "weights").exists()


def test_dynamic_sampling_on_several_processes_is_for_a_server() -> None:
    plan = GrpoPlan(4, 4, 2, Sampling(20), None, (0,), vllm=Vllm())  # type: ignore[arg-type]
    with pytest.raises(StageError, match="dynamic sampling with engine vllm is for one process"):
        plan.check(2, dynamic=True)
    replace(plan, served=object()).check(2, dynamic=True)  # type: ignore[arg-type]

