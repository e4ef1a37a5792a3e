"""Seconds of a training step of ours, and beside it plain trl on the same model, data, lengths and settings.

GRPO: one generation of 64 rollouts (8 prompts, groups of 8; lengths as in `bench_rollouts`, driven there in the same
way on both sides) and the two updates made of it, with the settings of `kind: grpo`. The reward is fixed, and no
group's rewards are all the same: where they are, ours is faster still, since it leaves such groups out. Qwen3-MoE's
auxiliary loss is off on both sides; with it a batch is not split.

SFT: rows of log-normal length (mean 60, at most 256), 32 a step, every token learned.

Of a model of SmolLM2-135M's shape fewer rows are taken. Where its weights are in bfloat16, ours trains fp32 copies of
them, and trl the weights as they are, as it does.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LogitsProcessorList,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from trl import GRPOConfig, GRPOTrainer, SFTTrainer

from eval.engine.types import Sampled, Sampling
from eval.language_model import LanguageModel
from pipeline.bench import rollouts
from pipeline.data.rows import Collator
from pipeline.disk.durable import JsonObject
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.rl.objectives.objective import Objective
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.scoring.rollout_replay import ReplaySource
from pipeline.rl.trainer import PolicyTrainer
from pipeline.training.learning import Learning
from pipeline.training.learning import Optimizer as AdamW
from pipeline.training.optimizer.schedule import Schedule
from pipeline.training.supervised import Plan, WeightedTrainer, config

NOT_BALANCED = Balancing(bias_speed=0, load=0, sequence=0)
ROUNDS = 5
UPDATES = 2
BATCH, STEPS = 32, 4
ALL = 10**9  # tokens of a micro-batch: trl does not split batches either
LEARNING = Learning(learning_rate=1e-4, optimizer=AdamW(name="adamw"), micro_batch_tokens=ALL)
"""As trl's trainers have it."""


@dataclass(frozen=True)
class Measured:
    """How many times as fast ours is, over rounds that took turns, and seconds a step of both (medians)."""

    ratio: float
    ratio_min: float
    ratio_max: float
    seconds: float
    baseline_seconds: float


Timed = Callable[[int, bool], float]
"""Seconds of a round by its number, of ours or of theirs."""


def _toys() -> dict[str, Timed]:
    qwen3_moe, deepseek_v3 = rollouts.TOYS["qwen3_moe_64"], rollouts.TOYS["deepseek_v3_64"]
    return {
        "grpo_qwen3_moe": partial(grpo_seconds, qwen3_moe),
        "grpo_deepseek_v3": partial(grpo_seconds, deepseek_v3),
        "sft_long_tail": partial(sft_seconds, qwen3_moe, BATCH, STEPS),
    }


def _smollm2() -> dict[str, Timed]:
    cases = {name: case for name, case in rollouts.SMOLLM2.items() if case.rollouts == rollouts.FEW}
    return {
        **{f"grpo_{name}": partial(grpo_seconds, case) for name, case in cases.items()},
        **{f"sft_{name}": partial(sft_seconds, case, BATCH // 2, STEPS // 2) for name, case in cases.items()},
    }


CASES: dict[str, Callable[[], dict[str, Timed]]] = {"toys": _toys, "smollm2": _smollm2}
"""By the models that `retort bench --model` asks for."""


def measure(
    models: str = "toys", rounds: int = ROUNDS, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Measured]:
    """Every case of these models, by name."""
    cases = CASES[models]()
    return {name: _compare(case, rounds, lambda text, name=name: tell(f"{name} {text}"))  # type: ignore[misc]
            for name, case in cases.items()}


def _compare(case: Timed, rounds: int, tell: Callable[[str], None]) -> Measured:
    pairs = []
    for number in range(rounds):
        pairs.append((case(number, True), case(number, False)))
        tell(f"{pairs[-1][1] / pairs[-1][0]:.2f}")
    ratios = [theirs / ours for ours, theirs in pairs]
    return Measured(
        statistics.median(ratios), min(ratios), max(ratios),
        *(statistics.median(side) for side in zip(*pairs, strict=True))
    )


def grpo_seconds(
    case: rollouts.Case, number: int, ours: bool, replay: ReplaySource | None = None,
    clock: Callable[[], float] | None = None,
) -> float:
    """One generation and its updates; ours may replay experts."""
    model = case.model()
    asked = rollouts.requests(case.rollouts, case.architecture["vocab_size"], seed=number)
    ends = case.ends(seed=number)
    prompts = [" ".join(f"t{token}" for token in request.prompt) for request in asked]
    with tempfile.TemporaryDirectory() as folder:
        trainer = (
            _ours(case, model, prompts, ends, folder, number, replay) if ours else _trls(model, prompts, ends, folder)
        )
        trainer.remove_callback(PrinterCallback)
        seconds = rollouts.seconds(trainer.train, clock)
    if trainer.state.num_input_tokens_seen < sum(ends.lengths):
        raise RuntimeError(f"{trainer.state.num_input_tokens_seen} tokens were seen, fewer than were asked for")
    return seconds


class Alternating:
    """Rewards of 0 and 1 by turns, so that no group is without signal."""

    def begin(self, problem: str, drawn: Sampled) -> None:
        pass

    def totals(self, problems: Sequence[str], drawn: Sequence[Sampled]) -> list[float | None]:
        return [float(place % 2) for place, _ in enumerate(drawn)]

    finish = totals


def _ours(
    case: rollouts.Case, model: LanguageModel, prompts: Sequence[str], ends: rollouts.Ends, folder: str, number: int,
    replay: ReplaySource | None
) -> Trainer:
    balance = Balance(model, NOT_BALANCED)
    plan = GrpoPlan(
        len(prompts), rollouts.GROUP, UPDATES, Sampling(case.most), Objective(), (number,),
        Learning(learning_rate=1e-4, micro_batch_tokens=ALL), replay=replay
    )
    args = TrainingArguments(
        **{**_COMMON, "use_cpu": case.device == "cpu"}, output_dir=folder, per_device_train_batch_size=1,
        train_sampling_strategy="sequential", remove_unused_columns=False,
    )
    visits = [Visit(prompt, str(place), 0) for place, prompt in enumerate(prompts)]
    trainer = PolicyTrainer(model, tokenizer(model), args, plan, visits, Alternating(), balance)
    recorded = [router.users for router in balance.routers] if replay else []
    trainer.rounds.drawing.engine = rollouts.DrivenEngine(model, ends, experts=recorded)
    return trainer


def _trls(model: LanguageModel, prompts: Sequence[str], ends: rollouts.Ends, folder: str) -> Trainer:
    def reward(completion_ids: Sequence[list[int]], **_: object) -> list[float]:
        return [float(place % 2) for place, _ in enumerate(completion_ids)]

    args = GRPOConfig(
        **_COMMON, output_dir=folder, per_device_train_batch_size=len(prompts) * rollouts.GROUP // UPDATES,
        steps_per_generation=UPDATES,
        num_generations=rollouts.GROUP, shuffle_dataset=False, max_completion_length=rollouts.MOST, temperature=1.0,
        top_k=0, beta=0.0, epsilon=0.2, epsilon_high=0.28, loss_type="dapo", scale_rewards="group",
    )
    rows = Dataset.from_list([{"prompt": prompt} for prompt in prompts])
    trainer = GRPOTrainer(
        model=model, args=args, reward_funcs=reward, processing_class=tokenizer(model), train_dataset=rows
    )
    plain = model.generate  # type: ignore[attr-defined]
    model.generate = lambda *args, **given: plain(  # type: ignore[attr-defined]
        *args, **given, logits_processor=LogitsProcessorList([rollouts.DrivenProcessor(ends)])
    )
    return trainer


_COMMON: JsonObject = {  # of TrainingArguments and of GRPOConfig, whose types no checker knows
    "max_steps": UPDATES, "learning_rate": 1e-4, "save_strategy": "no", "report_to": [], "disable_tqdm": True,
    "logging_strategy": "no", "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
    "gradient_accumulation_steps": 1,
}


def sft_seconds(case: rollouts.Case, batch: int, steps: int, number: int, ours: bool) -> float:
    """`steps` steps of `batch` rows each, in the same order on both sides; seconds of one."""
    model = case.model().train()
    words = tokenizer(model)
    generator = torch.Generator().manual_seed(number)
    lengths = rollouts.lengths(batch * steps, seed=number, mean=case.mean, most=case.most)
    rows = [torch.randint(3, len(words), (max(2, length),), generator=generator).tolist() for length in lengths]
    plan = Plan(steps, batch, LEARNING, Schedule(steps))
    with tempfile.TemporaryDirectory() as folder:
        options: JsonObject = {"model": model, "args": config(Path(folder), plan, 0), "processing_class": words}
        if ours:
            weighted = Dataset.from_list([{"input_ids": ids, "weights": [1.0] * len(ids)} for ids in rows])
            trainer = WeightedTrainer(**options, train_dataset=weighted, data_collator=Collator(rollouts.PAD),
                                      plan=plan, balance=Balance(model, NOT_BALANCED))
        else:
            trainer = SFTTrainer(
                **options, train_dataset=Dataset.from_list([{"input_ids": ids, "labels": ids} for ids in rows])
            )
        trainer.remove_callback(PrinterCallback)
        return rollouts.seconds(trainer.train) / steps


def tokenizer(model: LanguageModel) -> PreTrainedTokenizerFast:
    """One word a token of the model's vocabulary, so that a prompt's text has the length that was drawn."""
    size = model.config.vocab_size
    inner = Tokenizer(models.WordLevel({f"t{token}": token for token in range(size)}, unk_token="t3"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=f"t{rollouts.PAD}", eos_token=f"t{rollouts.EOS}", unk_token="t3",
        chat_template="{% for message in messages %}{{ message['content'] }}{% endfor %}",
    )
