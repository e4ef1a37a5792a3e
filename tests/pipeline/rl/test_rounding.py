"""In bfloat16 every program rounds in its own way: what is trained is measured against the forwards that train it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.engine.types import Sampling
from pipeline.models.mtp.section import Mtp
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.rl.batch import Batch
from pipeline.rl.objectives import loss
from pipeline.rl.objectives.objective import Counts, Objective
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.trainer import PolicyTrainer
from pipeline.training import logprobs
from pipeline.training.learning import Learning
from tests.pipeline.rl.test_trainer import arguments
from tests.pipeline.training.test_resumable import PROBLEMS, TOKENIZER, checkpoints

Tiny = Callable[..., Any]


class ByTurns:
    """Rewards of 0 and 1 by turns."""

    def begin(self, problem: str, drawn: Any) -> None:
        pass

    def totals(self, problems: Any, drawn: Any) -> list[float | None]:
        return [float(place % 2) for place, _ in enumerate(drawn)]

    finish = totals


class FirstOfAll:
    """Rewards of a first group that differ, and of another that do not."""

    def begin(self, problem: str, drawn: Any) -> None:
        pass

    def totals(self, problems: Any, drawn: Any) -> list[float | None]:
        return [float(place == 0) for place, _ in enumerate(drawn)]

    finish = totals


class Watching(Objective):
    """Keeps the ratios of the sequences of every update, as its loss has them."""

    def loss(
        self, logprobs: torch.Tensor, batch: Batch, counts: Counts, entropies: torch.Tensor | None = None
    ) -> torch.Tensor:
        RATIOS.append(loss.sequence_ratios(logprobs.detach(), batch.logprobs, batch.completion_mask))
        return super().loss(logprobs, batch, counts, entropies)


RATIOS: list[torch.Tensor] = []


class Watched(PolicyTrainer):
    """Keeps the ratios of the first update, and what its rollouts were before it by a forward that moves nothing."""

    ratios: list[torch.Tensor]
    scored: torch.Tensor

    def training_step(self, *given: Any) -> torch.Tensor:
        RATIOS.clear()
        found = super().training_step(*given)
        if self.state.global_step == 0:
            self.ratios = [*RATIOS]
        return found

    def begin_round(self, number: int) -> None:
        super().begin_round(number)
        if number == 0 and self._apart:
            self.scored = self._scored_as_trained(self.minibatches[0]).logprobs

    def _tell_first(self, *given: torch.Tensor) -> None:
        super()._tell_first(*given)
        assert torch.equal(self.scored, self.minibatches[0].logprobs)


def trained(
    tiny: Tiny, folder: Path, family: str, dtype: torch.dtype, replay: Any = None,
    rollout_dtype: torch.dtype | None = None, grading: Any = None, capacity: float | None = None,
    seen: Callable[[Watched], Any] = lambda _: None, beta: float = 0.0, mtp: Mtp | None = None, **learning: Any
) -> Watched:
    """After a round of two updates. `seen` is called with the trainer before."""
    model = tiny(family, vocab_size=len(TOKENIZER)).to(dtype).train()
    plan = GrpoPlan(
        2, 4, 2, Sampling(12, 1.0), Objective("gspo"), (0, "test"),
        Learning.model_validate({"learning_rate": 3e-3, **learning}), replay=replay, rollout_dtype=rollout_dtype,
        capped=capacity is not None, mtp=mtp,
    )
    plan = replace(plan, objective=Watching("gspo", beta=beta))
    visits = [Visit(problem.prompt, problem.id, 0) for problem in PROBLEMS]
    args = arguments(folder, steps=2, bf16=bool(learning.get("mixed_precision")))
    balance = Balance(model, Balancing(capacity=capacity))
    made = Watched(model, TOKENIZER, args, plan, visits, grading or ByTurns(), balance)
    seen(made)
    made.train_with(checkpoints(folder, None))
    assert made.ratios
    return made


@pytest.mark.parametrize(("family", "replay"), [("qwen3", None), ("qwen3_moe", "rollout"), ("qwen3_moe", "policy")])
@pytest.mark.parametrize("learning", [{}, {"micro_batch_tokens": 60, "gradient_checkpointing": True}], ids=str)
def test_nothing_has_moved_before_an_update(
    tiny: Tiny, tmp_path: Path, family: str, replay: Any, learning: dict[str, Any]
) -> None:
    trainer = trained(tiny, tmp_path, family, torch.bfloat16, replay, **learning)
    assert all(torch.equal(one, torch.ones_like(one)) for one in trainer.ratios)
    figures = trainer.rounds.parts["gap"].figures()
    assert 0 < figures["engine/kl"] < 0.05
    assert figures["engine/importance"] == pytest.approx(1, abs=0.05)


def test_in_full_precision_what_drew_has_them(tiny: Tiny, tmp_path: Path) -> None:
    trainer = trained(tiny, tmp_path, "qwen3_moe", torch.float32, "rollout")
    assert all(torch.allclose(one, torch.ones_like(one), atol=1e-5) for one in trainer.ratios)
    assert "gap" not in trainer.rounds.parts


@pytest.mark.parametrize(("drawn", "mixed"), [(torch.bfloat16, None), (None, True)])
def test_weights_in_full_precision_may_be_rounded_all_the_same(
    tiny: Tiny, tmp_path: Path, drawn: torch.dtype | None, mixed: bool | None
) -> None:
    trainer = trained(tiny, tmp_path, "qwen3", torch.float32, rollout_dtype=drawn, mixed_precision=mixed)
    assert all(torch.equal(one, torch.ones_like(one)) for one in trainer.ratios)
    assert trainer.rounds.parts["gap"].figures()["engine/kl"] > 1e-6


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("family", "fields"), [
    ("qwen3", {"beta": 0.1}), ("qwen3_moe", {"replay": "policy"}), ("deepseek_v3", {"mtp": Mtp()}),
])
def test_every_forward_of_a_training_is_in_its_precision(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, fields: dict[str, Any], many: bool
) -> None:
    """Also where logits are so many that the decoder and the head are called by themselves."""
    if many:
        monkeypatch.setattr(logprobs, "LOGITS", 0)
    seen: dict[str, set[torch.dtype]] = {"policy": set(), "module": set()}

    def watch(made: Watched) -> None:
        def see(name: str) -> Callable[..., None]:
            return lambda _layer, _inputs, output: seen[name].add(output.dtype)

        made.policy.get_submodule("model.layers.0.self_attn.o_proj").register_forward_hook(see("policy"))
        if made.mtp:
            made.mtp.module.get_submodule("projection").register_forward_hook(see("module"))

    trained(tiny, tmp_path, family, torch.float32, mixed_precision=True, seen=watch, **fields)
    assert seen["policy"] == {torch.bfloat16}
    assert seen["module"] == ({torch.bfloat16} if "mtp" in fields else set())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_where_experts_are_full_ratios_begin_at_1_all_the_same(
    tiny: Tiny, tmp_path: Path, dtype: torch.dtype
) -> None:
    trainer = trained(tiny, tmp_path, "qwen3_moe", dtype, "rollout", capacity=0.5)
    assert all(torch.equal(one, torch.ones_like(one)) for one in trainer.ratios)
    assert trainer.rounds.parts["gap"].figures()["engine/kl"] > 1e-4


def test_the_distance_is_that_of_rows_that_were_scored(tiny: Tiny, tmp_path: Path) -> None:
    measured: list[Batch] = []

    def watch(made: Watched) -> None:
        measure = made.rounds.gap.measure  # type: ignore[union-attr]
        made.rounds.gap.measure = lambda batch: (measured.append(batch), measure(batch))  # type: ignore

    trained(tiny, tmp_path, "qwen3", torch.bfloat16, grading=FirstOfAll(), seen=watch)
    [batch] = measured
    assert len(batch) == 4
    assert bool(batch.advantages.all())


def test_rollouts_are_kept_without_a_distance_that_nobody_knows_yet(tiny: Tiny, tmp_path: Path) -> None:
    kept: list[Batch] = []

    class Keeps:
        def keep(self, step: int, asked: Any, batch: Batch) -> None:
            kept.append(batch)

    def watch(made: Watched) -> None:
        made.rounds.keeping = Keeps()  # type: ignore[assignment]

    trained(tiny, tmp_path, "qwen3", torch.bfloat16, seen=watch)
    assert [batch.sampler_logprobs for batch in kept] == [None]
    kept.clear()
    trained(tiny, tmp_path, "qwen3_moe", torch.bfloat16, "policy", seen=watch)
    [batch] = kept
    assert batch.sampler_logprobs is not None
    assert not torch.equal(batch.sampler_logprobs, batch.logprobs)
