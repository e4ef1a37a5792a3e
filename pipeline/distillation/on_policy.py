"""On-policy distillation: a student learns from a teacher at what it writes itself, without any reward (GKD, Agarwal et
al. 2023, arXiv 2306.13649; Thinking Machines 2025, "On-policy distillation"; `guide.py` says what is taken of them).

It is reinforcement (`rl/trainer.py`) whose rollouts are worth nothing, so that of the loss the teacher's part is left:
rollouts, processes and checkpoints are those of `grpo`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eval.engine.types import Sampled, Sampling
from eval.language_model import LanguageModel, Tokenizer
from eval.prompts import settled
from eval.protocol import Prompting
from pipeline.contract.stage import Context, Metrics
from pipeline.distillation.guide import Guide
from pipeline.distillation.sections import Rollouts
from pipeline.distillation.teachers import Teachers, words_of
from pipeline.models.mtp import module
from pipeline.models.origin import from_scratch
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.rl.objectives.objective import Objective
from pipeline.rl.plan import GrpoPlan, arguments_of
from pipeline.rl.rollouts.drawing import visits_of
from pipeline.rl.trainer import PolicyTrainer
from pipeline.rl.watch import RoundLog
from pipeline.training.learning import Learning
from rewards.types import Problem


class Ungraded:
    """Grading of rollouts that are worth nothing."""

    def begin(self, problem: str, drawn: Sampled) -> None: ...

    def totals(self, problems: Sequence[str], drawn: Sequence[Sampled]) -> list[float | None]:
        return [0.0 for _ in problems]

    finish = totals


@dataclass(frozen=True)
class Lessons:
    """What `on_policy` distillation is told to do: problems that the student is asked, how they are put, its rollouts,
    and how weights are moved."""

    problems: Sequence[Problem]
    prompting: Prompting
    rollouts: Rollouts
    learning: Learning
    balance: Balancing


def train(ctx: Context, student: LanguageModel, tokenizer: Tokenizer, teacher: str, lessons: Lessons) -> Metrics:
    """Train the student in place on what it writes itself, by the teacher at an input reference; returns metrics."""
    rollouts = lessons.rollouts
    how = settled(tokenizer, lessons.prompting)
    visits = visits_of(
        lessons.problems, how, f"on_policy:{ctx.seed}", rollouts.steps * rollouts.prompts_per_step
    )
    words = words_of(ctx, [teacher], student, tokenizer, rollouts.top_k)
    teachers = Teachers.of(ctx, [teacher], tokenizer, words, rollouts.temperature)
    plan = GrpoPlan(
        prompts=rollouts.prompts_per_step, group_size=rollouts.group_size, updates=rollouts.updates_per_step,
        sampling=Sampling(rollouts.max_completion_tokens, rollouts.temperature),
        # Every token counts alike, in long answers and in short ones.
        objective=Objective("dapo", scale_by="none", longest=rollouts.max_completion_tokens),
        seed_parts=(ctx.seed, ctx.name), learning=lessons.learning,
        # the instruction stands in the visits already, each problem's own
        prompting=replace(how, instruction=None), replay="rollout",
    )
    balance = Balance(student, lessons.balance)
    arguments = arguments_of(ctx, lessons.learning, rollouts.steps * rollouts.updates_per_step)
    trainer = PolicyTrainer(student, tokenizer, arguments, plan, visits, Ungraded(), balance)
    trainer.rounds.gap = None  # rollouts have no advantages, which alone would be weighed
    trainer.rounds.teacher = Guide(teachers.to(trainer.accelerator.device), 1.0, trainer.rounds.scoring)
    watch = RoundLog(ctx, rollouts.steps, rollouts.updates_per_step, balance)
    trainer.add_callback(watch)
    if not from_scratch(student):
        ctx.note(f"trains by {trainer.choice}")
    if module.of(student):
        ctx.note(module.UNTRAINED)
    trainer.train_with(ctx.checkpoints, balance=balance, watch=watch)
    balance.remove()
    return {
        "steps": rollouts.steps, "tokens": int(trainer.state.num_input_tokens_seen), **watch.last,
        **balance.watch.summary(),
    }
