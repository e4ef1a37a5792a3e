"""Supervised training through trl's SFTTrainer, with a weight for each token."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig, SFTTrainer

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import StageError
from pipeline.contract.processes import share_of
from pipeline.contract.stage import Context, Metrics
from pipeline.data.rows import Collator, Row, Rows
from pipeline.disk.durable import JsonObject
from pipeline.models.mtp import module
from pipeline.models.mtp.section import PARTED, Mtp
from pipeline.models.origin import from_scratch
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.training import gradients, on_processors
from pipeline.training.chunks import chunks
from pipeline.training.fp8.learning import EightBits
from pipeline.training.fp8.section import SHARED, Fp8
from pipeline.training.layers.compilation import CompiledLayers
from pipeline.training.layers.recomputation import checkpoint_layers
from pipeline.training.learning import Learning
from pipeline.training.logprobs import token_logprobs
from pipeline.training.micro_batches import as_many, by_length, split
from pipeline.training.mtp.learning import MtpLearning
from pipeline.training.optimizer.schedule import Phased, Schedule
from pipeline.training.placement import give_back, own_device
from pipeline.training.resumable import Resumable, Stateful


@dataclass(frozen=True)
class Plan:
    """What the supervised stages have in common. `steps` is the most that a probe can extend it to."""

    steps: int
    batch_size: int
    learning: Learning
    schedule: Schedule | Phased
    balance: Balancing = field(default_factory=Balancing)
    mtp: Mtp | None = None
    fp8: Fp8 | None = None
    compiled: bool = False


LOG_EVERY = 10  # steps
FIRST = 10
"""Steps after which a loss that rose is told."""
ROSE = 1.1
"""By how much: batches differ, and so do their losses."""


HEAP = 8
"""Steps after which a large model's process gives back what was freed; what that costs was not measured."""


class Lesson(Stateful, Protocol):
    """What is learned of a row's tokens besides that they stand there. `last` are the figures that were last told."""

    last: dict[str, float]

    def collate(self, rows: Sequence[Row], places: Sequence[int]) -> JsonObject:
        """A batch, as of `data.rows.Collator`, of rows that stand at these places of the training."""
        ...

    def losses(self, model: LanguageModel, batch: Mapping[str, Tensor]) -> Tensor:
        """Of each token of a batch [rows, seq] after the first, [rows, seq - 1]; 0 where labels are -100."""
        ...

    def figures(self) -> dict[str, float]:
        """For the log, of all that was learned by all processes since it was asked last; they ask together."""
        ...

    def uncounted(self) -> AbstractContextManager[None]:
        """While this lasts rows are read in vain."""
        ...


class WeightedTrainer(Resumable, SFTTrainer):
    """SFTTrainer whose loss is the weighted mean of the token losses, over rows in the order given, and the auxiliary
    losses of `balance`; trl's own, which some families' configs switch on, is off."""

    # Trainer divides by the accumulation steps itself then, as it must for a mean over one micro-batch
    model_accepts_loss_kwargs = False

    def __init__(
        self, *args: object, model: LanguageModel, plan: Plan, balance: Balance, losses: list[Tensor] | None = None,
        lesson: Lesson | None = None, mtp: MtpLearning | None = None, **kwargs: object,
    ) -> None:
        """`losses` takes the loss of every step, without the auxiliary ones and that of `mtp`."""
        before = model.config.to_dict()
        super().__init__(*args, model=model, **kwargs)
        self.learn_by(plan.learning, "supervised", plan.schedule)
        if "router_aux_loss_coef" in before:  # trl writes its own there, and the config is saved with the model
            model.config.router_aux_loss_coef = before["router_aux_loss_coef"]
        self.balance, self.losses, self.lesson = balance, [] if losses is None else losses, lesson
        self.mtp = mtp
        if mtp and self.parted:
            raise StageError(PARTED)
        if plan.fp8 and self.collective:
            raise StageError(SHARED)

    def _get_train_sampler(self, train_dataset: Sized | None = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def training_step(
        self, model: nn.Module, inputs: Mapping[str, Tensor], num_items_in_batch: object = None
    ) -> Tensor:
        """The gradients of a step, of which this process has the rows [batch, seq], added up over its micro-batches
        and averaged over processes; returns the loss of all processes' rows, a scalar."""
        if self.state.global_step % HEAP == 0:
            give_back(self.accelerator.unwrap_model(self.model))
        inputs = self._prepare_inputs(inputs)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        weights = inputs["weights"][:, 1:].sum()
        # Processes have rows of unequal lengths: what the losses are divided by is everyone's, and what one finds is
        # its part of the mean over processes that `gradients.average` makes.
        whole, tokens = self.accelerator.reduce(torch.stack([weights, weights.new_tensor(sum(lengths))]), "mean")
        model.train()
        parts = split(lengths, self.most_tokens)
        if self.collective:
            parts = as_many(by_length(parts, lengths))
        else:
            model = self.accelerator.unwrap_model(model)
        total = torch.zeros((), device=weights.device)
        for number, rows in enumerate(parts, start=1):
            part = {name: value[rows or [0]] for name, value in inputs.items()} if len(parts) > 1 else inputs
            # In a part that is there for the others' sake a row is read in vain.
            with self.compute_loss_context_manager(), nullcontext() if rows else self._uncounted():
                loss, auxiliary = self._losses(model, part, whole)
            loss = loss if rows else loss * 0
            # An auxiliary loss is a mean over the tokens that it saw.
            loss_of_part = loss + auxiliary * (sum(lengths[row] for row in rows) / float(tokens))
            if self.mtp:
                loss_of_part = loss_of_part + self.mtp.take(whole)
            self.backward(loss_of_part, last=number == len(parts))
            total = total + loss.detach()
        if not self.collective:
            gradients.average(model.parameters())
        mean: Tensor = self.accelerator.reduce(total, "mean")
        self.losses.append(mean)
        return mean

    @contextmanager
    def _uncounted(self) -> Iterator[None]:
        """While this lasts rows are read in vain."""
        with ExitStack() as unseen:
            for one in (self.balance, self.mtp, self.lesson):
                if one:
                    unseen.enter_context(one.uncounted())
            yield

    def compute_loss(
        self, model: nn.Module, inputs: Mapping[str, Tensor], return_outputs: bool = False,
        num_items_in_batch: object = None
    ) -> Tensor:
        """The loss of a batch that is a step of its own, with the auxiliary losses."""
        loss, auxiliary = self._losses(model, inputs, inputs["weights"][:, 1:].sum())
        return loss + auxiliary

    def _losses(self, model: nn.Module, inputs: Mapping[str, Tensor], whole: Tensor) -> tuple[Tensor, Tensor]:
        """What rows [batch, seq] add to the loss of a step whose weights sum to `whole`, and their auxiliary losses.
        They are run in chunks of similar length without the columns that are padding in each; as a whole where forwards
        are collective, whose rows are of similar length already."""
        lengths = inputs["attention_mask"].sum(dim=1)
        total = torch.zeros((), device=lengths.device)
        policy: LanguageModel = model  # type: ignore[assignment]
        for rows in [list(range(len(lengths)))] if self.collective else chunks(lengths.tolist()):
            part = {name: value[rows, : int(lengths[rows].max())] for name, value in inputs.items()}
            # Of the token that is predicted, one further than its logits.
            weights = part.pop("weights")[:, 1:]
            losses = self.lesson.losses(policy, part) if self.lesson else -token_logprobs(policy, part)
            if self.mtp:
                self.mtp.see(part["input_ids"], weights)
            total = total + (losses * weights).sum()
        # Over the whole step and not a mean of the chunks' means, which would weigh tokens of short chunks more.
        return total / whole.clamp(min=1.0), self.balance.loss()


class _Watch(TrainerCallback):
    """Moves the routers' biases and the schedule, logs, tells the display, and asks the probe."""

    def __init__(
        self, ctx: Context, balance: Balance, plan: Plan, probe: "Probe | None", lesson: Lesson | None,
        mtp: MtpLearning | None,
    ) -> None:
        self.ctx, self.balance, self.plan, self.probe, self.lesson = ctx, balance, plan, probe, lesson
        self.mtp = mtp
        # since the last row of the log; the Trainer's own sum is in none of its checkpoints
        self.losses: list[Tensor] = []
        self.first: list[Tensor] = []  # losses of the first steps
        self.loss: float | None = None
        self.figures: dict[str, float] = {}

    def state(self) -> JsonObject:
        return {"losses": self.losses, "first": self.first, "loss": self.loss, "figures": self.figures,
                "rounds": self.plan.schedule.rounds}

    def restore(self, state: JsonObject) -> None:
        self.losses[:], self.first = ([one.to(own_device()) for one in state[name]] for name in ("losses", "first"))
        self.loss, self.figures = state["loss"], state["figures"]
        self.plan.schedule.rounds = state["rounds"]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.balance.step()
        if self.mtp:
            self.mtp.step()
        self._see_first(state.global_step)
        schedule = self.plan.schedule
        ended = state.global_step >= schedule.end
        if state.global_step % LOG_EVERY == 0 or state.global_step >= min(schedule.end, self.plan.steps):
            self._log(state.global_step)
        if self.probe and (ended or state.global_step % self.probe.every == 0):
            self.figures = self.probe.ask()
            self.ctx.log({"step": state.global_step, **{f"probe/{k}": v for k, v in self.figures.items()}})
        if self.probe and ended and min(self.figures.values()) < self.probe.at_least:
            # The training goes on with the steps it would have had, and a further cosine after them.
            schedule.rounds += 1
        control.should_training_stop = state.global_step >= min(schedule.end, self.plan.steps)
        for warning in self.balance.watch.warnings():
            self.ctx.note(warning)
        self.ctx.progress(
            state.global_step,
            min(schedule.end, self.plan.steps),
            **({} if self.loss is None else {"loss": self.loss}),
            **self.figures,
            **self.balance.watch.shown(),
        )

    def _see_first(self, step: int) -> None:
        """Tells, once, that the first steps have raised the loss."""
        if step > FIRST:
            return
        self.first.append(self.losses[-1])
        if step == FIRST:
            before, after = (float(torch.stack(some).mean()) for some in (self.first[:3], self.first[-3:]))
            if after > ROSE * before:
                self.ctx.note(f"the first {FIRST} steps raised the loss from {before:.3f} to {after:.3f}: the learning "
                              "rate may be too high for this model; lower learning_rate, or give a longer warm-up")

    def _log(self, step: int) -> None:
        self.loss = float(torch.stack(self.losses).mean())
        self.losses.clear()
        learned = self.lesson.figures() if self.lesson else {}
        ahead = self.mtp.figures() if self.mtp else {}
        self.ctx.log({"step": step, "loss": self.loss, **ahead, **learned, **self.balance.watch.figures()})


@dataclass
class Probe:
    """A measure of skill, taken every so many steps; a schedule that ends below `at_least` gets another round."""

    ask: Callable[[], dict[str, float]]
    every: int
    at_least: float


def train(
    ctx: Context, model: LanguageModel, tokenizer: Tokenizer, rows: Rows, plan: Plan, probe: Probe | None = None,
    lesson: Lesson | None = None,
) -> Metrics:
    """Train `model` in place on `rows`, in their order, `plan.batch_size` a step; returns metrics."""
    # Before the hooks of `Balance`: a new module is a copy of the model's last layer.
    mtp = MtpLearning(
        model, plan.mtp, plan.learning, "supervised", plan.schedule, plan.schedule.end, ctx.seed
    ) if plan.mtp else None
    balance = Balance(model, plan.balance)
    if mtp is None and module.of(model):
        ctx.note(module.UNTRAINED)
    watch = _Watch(ctx, balance, plan, probe, lesson, mtp)
    # After the module for multi-token prediction, whose layers are copies and stay in full precision.
    eight = EightBits(model, plan.fp8, ctx.seed) if plan.fp8 else None
    compiled = CompiledLayers(model) if plan.compiled else None
    if plan.learning.gradient_checkpointing:
        checkpoint_layers(model, [balance])
    collate = Collator(tokenizer.pad_token_id)

    def fetch(numbers: Sequence[dict[str, int]]) -> dict[str, Tensor]:
        places = [number["row"] for number in numbers]
        chosen = [rows[place] for place in places]
        return lesson.collate(chosen, places) if lesson else collate(chosen)

    trainer = WeightedTrainer(
        model=model,
        args=config(ctx.checkpoints.folder, plan, ctx.seed),
        train_dataset=Dataset.from_dict({"row": range(len(rows))}),  # trl takes no other kind; `fetch` does the rest
        data_collator=fetch,
        processing_class=tokenizer,
        callbacks=[watch],
        plan=plan,
        balance=balance,
        losses=watch.losses,
        lesson=lesson,
        mtp=mtp,
    )
    if not from_scratch(model):
        ctx.note(f"trains by {trainer.choice}")
    more: dict[str, Stateful | None] = {"lesson": lesson, "mtp": mtp, "fp8": eight}
    beside = {name: part for name, part in more.items() if part}
    trainer.train_with(ctx.checkpoints, watch=watch, balance=balance, **beside)
    balance.remove()
    if mtp:
        mtp.remove()
    if eight:
        eight.remove()
    if compiled:
        compiled.remove()
    if plan.learning.gradient_checkpointing:
        model.gradient_checkpointing_disable()
    # trl's fused head is an attribute of the instance, and belongs to this trainer
    del model.forward  # type: ignore[attr-defined]
    # Rows are made as they are read; those of steps that were not made were never made either.
    tokens = sum(len(rows[i]["input_ids"]) for i in range(trainer.state.global_step * plan.batch_size))
    metrics = {"steps": trainer.state.global_step, "tokens": tokens, "loss": watch.loss}
    ahead = mtp.figures() if mtp else {}
    return {**metrics, **ahead, **(lesson.last if lesson else {}), **balance.watch.summary()}


def config(folder: Path, plan: Plan, seed: int) -> SFTConfig:
    """The SFTConfig of a plan: what trl would do besides training is off."""
    return SFTConfig(
        output_dir=str(folder),
        max_steps=plan.steps,
        per_device_train_batch_size=share_of(plan.batch_size),
        max_grad_norm=plan.learning.max_grad_norm,
        seed=seed,
        data_seed=seed,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **on_processors.arguments(plan.learning.mixed_precision),
        gradient_checkpointing=False,  # as training/layers/recomputation.py does it
        remove_unused_columns=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_num_workers=0,
        average_tokens_across_devices=False,
        router_aux_loss_coef=0.0,
    )
