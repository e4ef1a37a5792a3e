"""Reinforcement of one model by trl's GRPOTrainer and by ours, with the same settings, prompts and reward: accuracy by
round, and seconds.

python benchmarks/grpo/curves.py MODEL [SEED ...] [--rounds N]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from trl import GRPOConfig, GRPOTrainer

from eval.answer_reader import AnswerReader
from eval.engine.types import Sampled, Sampling
from eval.language_model import LanguageModel, Tokenizer
from eval.problems import load
from eval.prompts import encode_prompts
from pipeline.models import pretrained
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.rl.objectives.objective import Objective
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.rollouts.reward_function import RewardFunction
from pipeline.rl.trainer import PolicyTrainer
from rewards.rubric import Rubric
from rewards.types import Problem

PROMPTS, GROUP, UPDATES = 16, 16, 2
SETS = ("word_problems:train", "programs:train")
OFF = Balancing(bias_speed=0, load=0, sequence=0)
MEANED = 8  # rounds of which a mean is told


class Plain(GRPOTrainer):
    """trl's own, but for the prompts, which are ours."""

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return encode_prompts(self.processing_class, prompts), None, {}


class Curve(TrainerCallback):
    """Share of right answers of each round."""

    def __init__(self, reward: RewardFunction) -> None:
        self.reward, self.points = reward, []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "reward" in logs:  # once a round, where it was drawn
            self.points.append(self.reward.parts["correct"])


def train(model_path: str, seed: int, rounds: int, ours: bool) -> tuple[list[float], float]:
    """(accuracy of each round, seconds)."""
    model, tokenizer = pretrained.load(model_path)
    problems = [
        p for group in zip(*(load(name, 512, seed) for name in SETS), strict=True) for p in group
    ][: rounds * PROMPTS]
    with (
        RewardFunction({p.id: p for p in problems}, Rubric(rules={"format": 0.2}), AnswerReader(tokenizer)) as reward,
        tempfile.TemporaryDirectory() as folder,
    ):
        made = (_ours if ours else _trls)(model, tokenizer, problems, reward, folder, seed, rounds)
        curve = Curve(reward)
        made.add_callback(curve)
        made.remove_callback(PrinterCallback)
        began = time.perf_counter()
        made.train()
        return curve.points, time.perf_counter() - began


def _ours(
    model: LanguageModel, tokenizer: Tokenizer, problems: Sequence[Problem], reward: RewardFunction, folder: str,
    seed: int, rounds: int
) -> Trainer:
    plan = GrpoPlan(PROMPTS, GROUP, UPDATES, Sampling(64), Objective(), (seed,))
    args = TrainingArguments(
        **_common(folder, seed, rounds), per_device_train_batch_size=1, train_sampling_strategy="sequential",
        remove_unused_columns=False
    )
    visits = [Visit(p.prompt, p.id, 0) for p in problems]
    return PolicyTrainer(model, tokenizer, args, plan, visits, reward, Balance(model, OFF))


def _trls(
    model: LanguageModel, tokenizer: Tokenizer, problems: Sequence[Problem], reward: RewardFunction, folder: str,
    seed: int, rounds: int
) -> Trainer:
    args = GRPOConfig(
        **_common(folder, seed, rounds), per_device_train_batch_size=PROMPTS * GROUP // UPDATES,
        steps_per_generation=UPDATES, num_generations=GROUP, shuffle_dataset=False, max_completion_length=64,
        temperature=1.0, top_k=0, beta=0.0, epsilon=0.2, epsilon_high=0.28, loss_type="dapo", scale_rewards="group",
        importance_sampling_level="token", router_aux_loss_coef=0.0,
    )

    def graded(completion_ids: list[list[int]], problem: list[str], **_: object) -> list[float | None]:
        return reward.finish(problem, [Sampled(list(ids), [0.0] * len(ids), True) for ids in completion_ids])

    rows = Dataset.from_list([{"prompt": p.prompt, "problem": p.id} for p in problems])
    return Plain(model=model, args=args, reward_funcs=graded, train_dataset=rows, processing_class=tokenizer)


def _common(folder: str, seed: int, rounds: int) -> dict[str, Any]:
    return {
        "output_dir": folder, "max_steps": rounds * UPDATES, "gradient_accumulation_steps": 1, "learning_rate": 1.5e-4,
        "lr_scheduler_type": "constant_with_warmup", "warmup_steps": 4, "weight_decay": 0.0, "max_grad_norm": 1.0,
        "seed": seed, "data_seed": seed, "logging_steps": 1, "save_strategy": "no", "report_to": [],
        "disable_tqdm": True, "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
    }


def means(points: Sequence[float]) -> list[float]:
    """Of every `MEANED` rounds."""
    return [statistics.mean(points[place : place + MEANED]) for place in range(0, len(points), MEANED)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a folder that transformers loads, such as runs/quickstart/01-base")
    parser.add_argument("seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        for ours in (True, False):
            points, seconds = train(str(Path(args.model)), seed, args.rounds, ours)
            shown = "  ".join(f"{mean:.3f}" for mean in means(points))
            print(
                f"seed {seed}  {'ours' if ours else 'trl ':4}  {seconds:6.1f} s   accuracy of each {MEANED} rounds: "
                f"{shown}", flush=True
            )


if __name__ == "__main__":
    main()
