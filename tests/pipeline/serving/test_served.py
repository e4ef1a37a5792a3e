"""Training and asking with a server: weights arrive, experts are replayed, and a sync that fails is not "done"."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.answer_reader import AnswerReader
from eval.engine.types import Request, Sampling
from eval.vllm.server import VllmServer
from pipeline.contract.checkpoints import METRICS, Checkpoints, CheckpointSchedule
from pipeline.contract.errors import StageError
from pipeline.moe.routers import routers
from pipeline.rl.batch import Batch
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.ahead import Ahead
from pipeline.rl.rollouts.curriculum import Asked, Curriculum, Difficulty
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.rollouts.reward_function import RewardFunction
from pipeline.rl.trainer import PolicyTrainer
from pipeline.serving.section import Vllm
from pipeline.serving.served import OnDemand, Served, divergence_of, served
from pipeline.training.learning import Learning
from pipeline.training.logprobs import completion_logprobs
from rewards.rubric import Rubric
from tests.pipeline.rl.test_trainer import PROBLEMS, TEMPERATURE, TOKENIZER, first, policy, trainer
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
        assert made.rounds.gap is not None
        assert made.rounds.gap.last["vllm/kl"] < 1e-6
        assert made.rounds.gap.last["vllm/importance"] == pytest.approx(1, abs=1e-3)
        assert made.rounds.gap.last["vllm/truncated"] == 0
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
        assert max(body["max_tokens"] for body in stand_in.bodies) == 4  # of those that compare the two, too
        assert divergence_of(one, asked) < 1e-6
    with (
        on_server(model, other, tmp_path / "v", fault=spoil) as (_, one, vllm),
        pytest.raises(StageError, match="does not draw from this model"),
    ):
        OnDemand(lambda: one, vllm).sample(asked, Sampling(4))


@pytest.mark.parametrize("when", ["between two calls", "during a call", "started anew"])
def test_what_a_server_draws_from_anothers_weights_is_not_taken(tiny: Tiny, tmp_path: Path, when: str) -> None:
    model, other = policy(tiny, "qwen3"), policy(tiny, "qwen3")
    asked = [Request([5, 6, 7], [1]), Request([8, 9], [2])]
    with on_server(model, model, tmp_path / "v") as (stand_in, one, vllm):
        engine = OnDemand(lambda: one, vllm)
        engine.sample(asked, Sampling(4))
        if when == "between two calls":
            Served(other, TOKENIZER, VllmServer(one.server.url), tmp_path / "other", False).refresh()
        elif when == "started anew":
            stand_in.token = ""

        def progress(*_: object) -> None:
            if when == "during a call":
                stand_in.token = "another's"

        with pytest.raises(StageError, match="has lost this stage's weights: another stage or run has sent its own"):
            engine.sample(asked, Sampling(4), progress)
        one.refresh()  # as a run does that is started again
        engine.sample(asked, Sampling(4))


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


QUICK = Learning(learning_rate=0.02)  # so that a round of updates is seen


def test_a_round_that_is_drawn_ahead_is_weighed_by_the_policy_that_drew_it(tiny: Tiny, tmp_path: Path) -> None:
    model = policy(tiny, "qwen3")
    start = copy.deepcopy(model).eval()
    with on_server(model, model, tmp_path / "v") as (stand_in, one, vllm):
        loose = Vllm(url=vllm.url, most_divergence=10)
        made = training(model, tmp_path, one, loose, steps=4, staleness=1, learning=QUICK)
        rounds: list[Batch] = []
        scored = made.rounds._scored

        def keep(batch: Batch, sampled: Any) -> Batch:
            rounds.append(scored(batch, sampled))
            return rounds[-1]

        made.rounds._scored = keep  # type: ignore[method-assign]
        made.train()
        assert stand_in.loads == 1  # for the first round, and for the second while the first was trained on
    for batch in rounds:
        count = batch.completion_ids.shape[1]
        with torch.no_grad():
            drew = completion_logprobs(start, batch.ids, batch.mask, count, TEMPERATURE)[0]
        assert torch.allclose(batch.sampler_logprobs, drew, atol=1e-4)  # type: ignore[arg-type]
    assert torch.allclose(rounds[0].logprobs, rounds[0].sampler_logprobs, atol=1e-4)  # type: ignore[arg-type]
    assert not torch.allclose(rounds[1].logprobs, rounds[1].sampler_logprobs, atol=1e-2)  # type: ignore[arg-type]
    assert made.rounds.gap is not None
    assert made.rounds.gap.last["vllm/kl"] > 1e-5


def test_a_curriculum_chooses_the_round_that_is_drawn_ahead_when_the_one_before_is_graded(
    tiny: Tiny, tmp_path: Path
) -> None:
    model = policy(tiny, "qwen3")
    grading = RewardFunction({p.id: p for p in PROBLEMS}, Rubric(), AnswerReader(TOKENIZER))
    with on_server(model, model, tmp_path / "v") as (stand_in, one, vllm):
        loose = Vllm(url=vllm.url, most_divergence=10)
        made = training(model, tmp_path, one, loose, steps=4, staleness=1, grading=grading)
        problems = {p.id: Asked(p.prompt, "words") for p in PROBLEMS}
        made.rounds.curriculum = Curriculum(Difficulty(), problems, grading, prompts=4, rounds=2, seed=0)
        made.train()
        assert stand_in.loads == 1  # the second round was the one that was begun
    assert sum(made.rounds.curriculum.visits.values()) == 8


def test_what_was_drawn_ahead_is_drawn_anew_by_a_training_that_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    def begun(fault: bool) -> PolicyTrainer:
        made = training(model, tmp_path, one, loose, steps=4, staleness=1)
        step = made.training_step

        def cut(*args: Any, **kwargs: Any) -> torch.Tensor:
            if fault and made.state.global_step == 2:
                raise KeyboardInterrupt
            return step(*args, **kwargs)

        made.training_step = cut  # type: ignore[method-assign]
        return made

    def at(every: int | None) -> Checkpoints:
        schedule = CheckpointSchedule(every_seconds=None, every_steps=every)
        return Checkpoints(tmp_path / "checkpoints", tmp_path / METRICS, {}, schedule, note=[].append)

    model = policy(tiny, "qwen3")
    with on_server(model, model, tmp_path / "v") as (stand_in, one, vllm):
        loose = Vllm(url=vllm.url, most_divergence=10)
        with pytest.raises(KeyboardInterrupt):
            begun(True).train_with(at(2))
        again = begun(False)
        again.train_with(at(None))
        assert again.state.global_step == 4
        assert stand_in.loads == 2  # the last for the second round, with the weights of now
        assert again.rounds.gap is not None
        assert again.rounds.gap.last["vllm/kl"] < 1e-6


def test_a_server_that_goes_away_while_it_draws_ahead_stops_the_training() -> None:
    def draw(_visits: list[Visit]) -> Any:
        raise StageError("the server does not answer")

    ahead, visits = Ahead(draw), [Visit("2 + 3?", "a", 0)]
    assert ahead.take(visits) is None
    ahead.begin(visits)
    with pytest.raises(StageError, match="does not answer"):
        ahead.take(visits)
    ahead.begin(visits)
    assert ahead.take([Visit("2 + 3?", "a", 1)]) is None  # what was begun is another round
