"""Whether a GPU computes what a processor does: log-probabilities of rollouts, a step of SFT and one of GRPO, in
fp32."""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sizes import Sizes
from transformers import Trainer, TrainingArguments

from eval.engine.native import NativeEngine
from eval.engine.types import Request, Sampled, Sampling
from pipeline.bench import rollouts, train
from pipeline.data.rows import Collator
from pipeline.moe.balance import Balance
from pipeline.rl.objectives.objective import Objective
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.trainer import PolicyTrainer
from pipeline.training.learning import Learning
from pipeline.training.optimizer.schedule import Schedule
from pipeline.training.supervised import Plan, WeightedTrainer, config

ASKED, TOKENS = 16, 48
SGD = Learning.model_validate({
    "learning_rate": 0.1, "optimizer": {"name": "sgd"}, "mixed_precision": False,
    "schedule": {"shape": "constant", "warmup_steps": 0},
})
"""Whose steps show a wrong factor."""


def measure(sizes: Sizes) -> dict[str, Any]:
    """By model: the largest distance of a log-probability, and the distance of the weights after a step as a share of
    the way that both went."""
    torch.backends.cuda.matmul.allow_tf32 = False
    return {name: _of(architecture, sizes.device) for name, architecture in sizes.toys.items()}


def _of(architecture: dict[str, Any], device: str) -> dict[str, float]:
    here = rollouts.build(architecture)
    there = copy.deepcopy(here).to(device)  # type: ignore[attr-defined]
    asked = rollouts.requests(ASKED, architecture["vocab_size"], seed=0)
    drawn = NativeEngine(there, {rollouts.EOS}).sample(asked, Sampling(TOKENS))
    found = {"logprobs": _logprob_distance(here, asked, drawn)}
    for name, step in (("sft", _sft), ("grpo", _grpo)):
        start = [one.detach().clone() for one in here.parameters()]
        models = [copy.deepcopy(here), copy.deepcopy(here)]
        for model, use_cpu in zip(models, (True, device == "cpu"), strict=True):
            step(model, use_cpu, asked, drawn)
        ways = [torch.cat([(one.cpu() - begin).flatten() for one, begin in zip(model.parameters(), start, strict=True)])
                for model in models]
        found[name] = float((ways[0] - ways[1]).norm() / ways[0].norm())
    return found


@torch.no_grad()
def _logprob_distance(model: Any, asked: Sequence[Request], drawn: Sequence[Sequence[Sampled]]) -> float:
    """Largest difference of what the engine recorded to a forward on the processor."""
    worst = 0.0
    for request, group in zip(asked, drawn, strict=True):
        for one in group:
            ids = torch.tensor([[*request.prompt, *one.ids]])
            logits = model(input_ids=ids, use_cache=False).logits[0, len(request.prompt) - 1 : -1].float()
            expected = logits.log_softmax(-1).gather(-1, torch.tensor(one.ids).unsqueeze(-1)).squeeze(-1)
            worst = max(worst, float((expected - torch.tensor(one.logprobs)).abs().max()))
    return worst


def _sft(model: Any, use_cpu: bool, asked: Sequence[Request], drawn: Sequence[Sequence[Sampled]]) -> None:
    rows = [{"input_ids": [*request.prompt, *one.ids], "weights": [1.0] * (len(request.prompt) + len(one.ids))}
            for request, group in zip(asked, drawn, strict=True) for one in group]
    plan = Plan(1, len(rows), SGD, Schedule(1))
    with tempfile.TemporaryDirectory() as folder:
        # transformers looks for a device as soon as there are arguments, and no more.
        args = replace(config(Path(folder), plan, 0), use_cpu=use_cpu)
        trainer = WeightedTrainer(
            model=model.train(), args=args, processing_class=train.tokenizer(model),
            train_dataset=Dataset.from_list(rows), data_collator=Collator(rollouts.PAD), plan=plan,
            balance=Balance(model, train.NOT_BALANCED),
        )
        _require_where(trainer, use_cpu)
        trainer.train()


def _require_where(trainer: Trainer, use_cpu: bool) -> None:
    device = trainer.accelerator.device.type
    if (device == "cpu") != use_cpu:
        raise RuntimeError(f"a step that is to be held against another device's is made on {device}")


class _Recorded:
    """An engine that says what another has drawn."""

    def __init__(self, drawn: Sequence[Sequence[Sampled]]) -> None:
        self.drawn = [list(group) for group in drawn]

    def sample(self, requests: object, sampling: object, progress: object = None, written: Any = None) -> Any:
        for place, group in enumerate(self.drawn):
            for index, one in enumerate(group):
                written(place, index, one)
        return self.drawn


def _grpo(model: Any, use_cpu: bool, asked: Sequence[Request], drawn: Sequence[Sequence[Sampled]]) -> None:
    plan = GrpoPlan(len(asked), rollouts.GROUP, 1, Sampling(TOKENS), Objective(), (0,), SGD)
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder, max_steps=1, use_cpu=use_cpu, per_device_train_batch_size=1, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True, remove_unused_columns=False,
            train_sampling_strategy="sequential",
        )
        visits = [Visit(" ".join(f"t{token}" for token in request.prompt), str(place), 0)
                  for place, request in enumerate(asked)]
        balance = Balance(model, train.NOT_BALANCED)
        trainer = PolicyTrainer(model, train.tokenizer(model), args, plan, visits, train.Alternating(), balance)
        trainer.rounds.drawing.engine = _Recorded(drawn)
        _require_where(trainer, use_cpu)
        trainer.train()
