"""What watching and balancing routers adds to a training step, and what replaying experts adds to a step of GRPO.

Both sides run in one process and one thread, step by step in turn, on the same data; what is compared is the
processor's time, which other work on the machine disturbs less than a clock's. Balance is the family's default with the
bias update or losses that belong to it, every step watched and every tenth logged. A step of GRPO is one generation and
the two updates made of it, as in `bench_train`; replay includes recording the experts in the engine and telling what it
is worth.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from torch import nn

from pipeline.bench import rollouts
from pipeline.bench import train as training
from pipeline.data.rows import Collator
from pipeline.disk.durable import JsonObject
from pipeline.moe.balance import Balance
from pipeline.training.optimizer.muon import Muon
from pipeline.training.optimizer.schedule import Schedule
from pipeline.training.supervised import LOG_EVERY, Plan, WeightedTrainer, config

STEPS = 12  # a round
FAMILIES = ("qwen3_moe_64", "deepseek_v3_64")


@dataclass(frozen=True)
class Overhead:
    """What a step takes more, as a share of it: the median of the rounds' medians, and the least and most of them."""

    share: float
    least: float
    most: float
    seconds: float


def measure(rounds: int, tell: Callable[[str], None]) -> dict[str, Overhead]:
    """By what is added and to which family. Raises no error for what is too slow: the figures are for a person to
    judge."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {}
        for case in FAMILIES:
            family = case.removesuffix("_64")
            found[f"balance_{family}"] = _overhead(rounds, lambda number, case=case: _balance(case, number), tell)  # type: ignore[misc]
            found[f"replay_{family}"] = _overhead(rounds, lambda number, case=case: _replay(case, number), tell)  # type: ignore[misc]
        return found
    finally:
        torch.set_num_threads(before)


def _overhead(rounds: int, pairs: Callable[[int], list[tuple[float, float]]], tell: Callable[[str], None]) -> Overhead:
    shares, seconds = [], []
    for number in range(rounds):
        found = pairs(number)
        shares.append(statistics.median(without and added / without - 1 for added, without in found))
        seconds.append(statistics.median(without for _, without in found))
        tell(f"{shares[-1]:+.1%}")
    return Overhead(statistics.median(shares), min(shares), max(shares), statistics.median(seconds))


def _balance(case: str, number: int) -> list[tuple[float, float]]:
    """Seconds of supervised steps, (balanced, not) of each."""
    with tempfile.TemporaryDirectory() as folder:
        sides = [_Supervised(case, Path(folder), balanced) for balanced in (True, False)]
        batches = [_batch(number * STEPS + step, sides[0].size) for step in range(STEPS + 1)]
        pairs = [(sides[0].step(batch), sides[1].step(batch)) for batch in batches]
        return pairs[1:]  # the first is a warm-up


class _Supervised:
    """A model in supervised training, with its family's balance or none."""

    def __init__(self, case: str, folder: Path, balanced: bool) -> None:
        self.model = rollouts.build(rollouts.TOYS[case].architecture).train()
        self.size = int(self.model.config.vocab_size)
        self.optimizer = Muon(self.model.named_parameters(), 1e-4, 1e-4)
        self.balance = Balance(self.model)
        if not balanced:
            self.balance.remove()
        plan = Plan(1, training.BATCH, training.LEARNING, Schedule(1))
        self.trainer = WeightedTrainer(
            model=self.model, args=config(folder, plan, 0), train_dataset=Dataset.from_dict({"row": [0]}),
            data_collator=Collator(rollouts.PAD), processing_class=training.tokenizer(self.model), plan=plan,
            balance=self.balance,
        )
        self.steps = 0

    def step(self, batch: JsonObject) -> float:
        began = time.process_time()
        self.trainer.compute_loss(self.model, batch).backward()  # type: ignore
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.balance.step()
        self.balance.watch.warnings()
        self.balance.watch.shown()
        self.steps += 1
        if self.steps % LOG_EVERY == 0:
            self.balance.watch.figures()
        return time.process_time() - began


def _batch(seed: int, size: int) -> JsonObject:
    generator = torch.Generator().manual_seed(seed)
    rows = [
        torch.randint(
            3, size, (max(2, length),), generator=generator
        ).tolist() for length in rollouts.lengths(training.BATCH, seed=seed)
    ]
    return Collator(rollouts.PAD)([{"input_ids": ids, "weights": [1.0] * len(ids)} for ids in rows])


def _replay(case: str, number: int) -> list[tuple[float, float]]:
    """Seconds of a step of GRPO, (with replay, without); which goes first alternates."""
    order = (True, False) if number % 2 else (False, True)
    found = {
        replayed: training.grpo_seconds(
            rollouts.TOYS[case], number, True, "rollout" if replayed else None, time.process_time
        ) for replayed in order
    }
    return [(found[True], found[False])]
