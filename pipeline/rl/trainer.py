"""GRPO: a round of rollouts (`rounds.py`: draw, grade, advantages), then its loss and the optimizer steps on it.

Why this is transformers' Trainer and not trl's GRPOTrainer. trl's loop is built around its own sampler, generation
buffer and padded dictionaries. To draw with our engine, to grade while drawing, to leave out rows without a gradient,
to read a prompt once for its group and to replay experts, eight of its private methods had to be overridden against the
flow of it, and its next release could change each of them. What is left of the algorithm is short (`rounds.py`,
`objectives/`) and is tested against trl's numbers. transformers' Trainer stays for what it does well: optimizer,
schedule, precision, processes (through accelerate), checkpoints.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from accelerate.utils import set_seed
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import default_collate
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import TrainOutput

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.checkpoints import Checkpoints
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject
from pipeline.moe.balance import Balance
from pipeline.rl.batch import Batch, joined
from pipeline.rl.objectives.objective import Counts
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.rollouts.dynamic_sampling import DynamicSampling
from pipeline.rl.rollouts.reward_function import Grading
from pipeline.rl.rounds import Rounds
from pipeline.rl.scoring.dropout import without_dropout
from pipeline.rl.scoring.forwards import Forwards, SharedPrompts, WholeRows
from pipeline.rl.scoring.mtp_lesson import MtpLesson
from pipeline.rl.scoring.scoring import Scoring
from pipeline.training import gradients
from pipeline.training.chunks import chunks
from pipeline.training.layers.recomputation import checkpoint_layers
from pipeline.training.logprobs import fused_head
from pipeline.training.micro_batches import as_many, by_length, split
from pipeline.training.mtp.beside import MtpBeside
from pipeline.training.optimizer.schedule import schedule_of
from pipeline.training.placement import give_back, require_one_gpu
from pipeline.training.resumable import Resumable, Stateful


class PolicyTrainer(Resumable, Trainer):
    """Group-relative policy optimization of `model` on `visits`, which are used once and in their order, `plan.prompts`
    a round.

    A round draws and grades the rollouts of its visits; the plan's updates, one `training_step` each, then share them.
    The state of a training between two steps is the model, the optimizer, torch's random stream and, inside a round,
    its minibatches: with these in a checkpoint a training that was cut off ends with the bytes of one that was not.
    """

    def __init__(
        self, model: LanguageModel, tokenizer: Tokenizer, args: TrainingArguments, plan: GrpoPlan,
        visits: Sequence[Visit], grading: Grading, balance: Balance, dynamic: DynamicSampling | None = None,
    ) -> None:
        """`args.max_steps` are the optimizer steps, `plan.updates` for each round. Raises StageError for a plan that
        does not fit the number of processes."""
        plan.check(args.world_size, dynamic is not None)
        require_one_gpu()
        # A row for each optimizer step of each process: Trainer counts by its data; what is in a step is made here.
        steps = Dataset.from_dict({"step": range(args.max_steps * args.world_size)})
        super().__init__(
            model=model, args=args, train_dataset=steps, data_collator=default_collate, processing_class=tokenizer
        )
        # rows are dealt to updates at random, on each process in its own order
        set_seed(args.seed, device_specific=True)
        self.plan, self.balance = plan, balance
        self.policy: LanguageModel = self.accelerator.unwrap_model(self.model)
        self.temperature = plan.sampling.temperature
        learning = plan.learning
        # As GRPO is published, rates are constant after the warm-up; an only update has one.
        self.learn_by(learning, "reinforcement", schedule_of(
            learning.schedule, args.max_steps, warmup=4, shape="constant", first=1 if args.max_steps == 1 else 0
        ))
        self.mtp = MtpBeside(
            self.policy, plan.mtp, learning, self.rates, args.max_steps, args.seed, self.temperature
        ) if plan.mtp else None
        self.rounds = Rounds(
            self.policy, self.accelerator, tokenizer, plan, visits, grading,
            Scoring(self.most_tokens, self.collective), self.parted,
        )
        self.rounds.dynamic = dynamic
        if learning.gradient_checkpointing:
            replay = self.rounds.replay
            checkpoint_layers(self.policy, [balance, *([replay.replay] if replay else [])])
        self.minibatches: list[Batch] = []  # of this round, one an update
        self.counts = Counts(1.0, 1.0)
        self.figures: dict[str, float] = {}  # of this round, for the log
        # of this optimizer step: sums over tokens of entropies and divergences, and the tokens
        self.sums = torch.zeros(3, dtype=torch.float64, device=self.accelerator.device)

    def training_step(self, model: nn.Module, inputs: object, num_items_in_batch: object = None) -> Tensor:
        """One optimizer step's gradients, on rollouts that are drawn anew where a round begins; returns the loss, a
        scalar."""
        number, update = divmod(self.state.global_step, self.plan.updates)
        if update == 0:
            self.begin_round(number)
        model.train()
        # As accelerate wraps it where its forwards are collective; else each process runs as if it were alone.
        policy: LanguageModel = model if self.collective else self.policy  # type: ignore[assignment]
        places = self.moving(self.minibatches[update])
        batch = self.minibatches[update].rows(places)
        begun = batch.logprobs.clone() if update == 0 and self._apart else None
        # of all processes, which may have unequal numbers of rows, and one none
        rows = self._mean(len(batch))
        total = torch.zeros((), device=batch.advantages.device)
        drawn = total + self._mean(float(batch.drawn_mask.sum())) if self.mtp else total
        if self.mtp:
            self.mtp.begin()
        parts = self._parts(batch)
        for number, some in enumerate(parts, start=1):
            part = batch.trimmed(some) if len(some) else None
            read = torch.zeros_like(part.logprobs) if part and begun is not None else None
            with self.compute_loss_context_manager():
                loss = self.loss(policy, part, len(part) / rows, read) if part else self._idle(policy)
            if begun is not None and read is not None:
                begun[some, : read.shape[1]] = read
            self.backward(loss, last=number == len(parts))
            if self.mtp:
                self.mtp.backward(drawn)
            total += loss.detach()
        if not self.collective:
            gradients.average(self.policy.parameters())
        if self.mtp:
            self.mtp.step()
        if begun is not None:
            self._tell_first(places, begun)
        self._log_sums()
        return total

    def begin_round(self, number: int) -> None:
        """Draw and grade the rollouts of a round."""
        give_back(self.policy)
        made = self.rounds.make(number)
        give_back(self.policy)
        self.minibatches, self.counts, self.figures = made.minibatches, made.counts, made.figures
        if self._apart:
            # The first update scores its own rollouts as it reads them, before it moves the policy.
            first, *others = (_with_sampler(batch) for batch in made.minibatches)
            self.minibatches = [first, *map(self._scored_as_trained, others)]
        self.state.num_input_tokens_seen += made.tokens

    @property
    def _apart(self) -> bool:
        """Whether ratios are taken from what the training's own forwards make of rollouts, and not from what drew
        them."""
        return bool(self.rounds.gap and self.rounds.apart)

    def moving(self, batch: Batch) -> Tensor:
        """Places of the rows of an optimizer step that have a gradient, [moving]; with a teacher each row has one."""
        if self.rounds.teacher:
            return torch.arange(len(batch))
        moving = self.plan.objective.moves(batch)
        if self._mean(len(moving)) == 0:
            # One row where nobody has any, for a loss with a graph: the optimizer step is made either way, since all
            # processes and the schedule count on it.
            return torch.arange(min(1, len(batch)))
        return moving

    @torch.no_grad()
    def _scored_as_trained(self, batch: Batch) -> Batch:
        """The rows of an update with the policy's log-probabilities before the round's first one, by the forwards that
        the update makes: the same rows side by side, so that what differs later was learned. Of rows without a
        gradient they are what drew them told."""
        places = self.moving(batch)
        moving = batch.rows(places)
        found = moving.logprobs.clone()
        policy: LanguageModel = self.model_wrapped if self.collective else self.policy
        self.model_wrapped.train()
        with self._uncounted():
            for part in self._parts(moving):
                if not len(part):
                    self._forward_in_vain(policy)
                    continue
                with self.compute_loss_context_manager():
                    for rows, _, (logprobs, _, _) in self._forwards(policy, moving.trimmed(part)):
                        found[part[rows], : logprobs.shape[1]] = logprobs.float()
        return _with_logprobs(batch, places, found)

    def _tell_first(self, places: Tensor, begun: Tensor) -> None:
        """Of a round's first update, what the policy was before it at its rows at `places`: `begun` [rows, seq]."""
        first, *others = self.minibatches
        self.minibatches = [_with_logprobs(first, places, begun), *others]
        assert self.rounds.gap
        if not self.plan.vllm:  # whose draws were measured before
            # Rows without a gradient were not scored again, and would count as if both sides agreed on them.
            scored = [batch.rows(self.moving(batch)) for batch in self.minibatches]
            self.rounds.gap.measure(joined(scored))

    @contextmanager
    def _uncounted(self) -> Iterator[None]:
        """While this lasts rows are read, and neither counted nor balanced nor learned from."""
        with ExitStack() as unseen:
            for one in (self.balance, self.rounds.replay and self.rounds.replay.replay, self.mtp):
                if one:
                    unseen.enter_context(one.uncounted())
            yield

    def _parts(self, batch: Batch) -> list[Tensor]:
        """Places of rows [part] whose activations fit in memory together. Where forwards are collective each process
        has as many parts, of which some may be empty."""
        parts: list[list[int]] = []
        if len(batch):
            # Rows of one prompt stay together, so that they can share it.
            together = sorted(range(len(batch)), key=lambda row: batch.prompt_ids[row].tolist())
            lengths = batch.mask.sum(dim=1).tolist()
            parts = split(lengths, self.most_tokens, together)
            if self.collective:
                parts = by_length(parts, lengths)
        return [torch.tensor(rows) for rows in (as_many(parts) if self.collective else parts)]

    def _idle(self, policy: LanguageModel) -> Tensor:
        """A forward for the sake of processes that have more: its loss is 0, and so are its gradients. They flow
        wherever those of `loss` do: ZeRO-3 counts on all processes what of a model they have gone through."""
        with self._uncounted():
            logprobs, entropy = self._forward_in_vain(policy)
        moves = entropy.sum() if self.plan.objective.entropy_bonus else 0.0
        return (logprobs.sum() + moves) * 0

    def _forward_in_vain(self, policy: LanguageModel) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies of one row, both [1, seq]."""
        row = next(batch for batch in self.minibatches if len(batch)).trimmed(torch.arange(1))
        [(_, _, (logprobs, entropy, _))] = self._forwards(policy, row)
        return logprobs, entropy

    def loss(self, policy: LanguageModel, batch: Batch, share: float = 1.0, read: Tensor | None = None) -> Tensor:
        """What rows add to the loss of an optimizer step, a scalar with its graph; they are a `share` of those that a
        process has on the mean. They run in chunks of similar length. At a round's first update their ratios are
        taken from these very forwards, which fill `read` [rows, seq]."""
        total = torch.zeros((), device=batch.advantages.device)
        for rows, part, (logprobs, entropy, divergences) in self._forwards(policy, batch):
            if read is not None:
                part = replace(part, logprobs=logprobs.detach().float())
                read[rows, : logprobs.shape[1]] = part.logprobs
            total = total + self.plan.objective.loss(logprobs, part, self.counts, entropy)
            mask = part.drawn_mask
            sums = [(entropy * mask).sum(), entropy.new_zeros(()), mask.sum().to(entropy.dtype)]
            if self.rounds.teacher and divergences is not None:
                total = total + self.rounds.teacher.weight * self.plan.objective.mean(divergences, mask, self.counts)
                sums[1] = (divergences * mask).sum()
            self.sums += torch.stack(sums).detach().double()
        # An auxiliary loss is a mean over the tokens that it saw.
        return total + self.balance.loss() * share

    def _log_sums(self) -> None:
        """Of an optimizer step: means over the tokens of all processes' rows that have a gradient."""
        entropy, divergence, tokens = self.accelerator.reduce(self.sums, "sum").tolist()
        self.figures["entropy"] = entropy / max(1.0, tokens)
        if self.rounds.teacher:
            self.figures["divergence"] = divergence / max(1.0, tokens)
        self.sums = torch.zeros_like(self.sums)

    def _mean(self, value: float) -> float:
        """The mean over processes."""
        return float(self.accelerator.reduce(torch.tensor(float(value), device=self.accelerator.device), "mean"))

    def _forwards(
        self, policy: LanguageModel, batch: Batch
    ) -> Iterator[tuple[Tensor, Batch, tuple[Tensor, Tensor, Tensor | None]]]:
        """Parts of the batch: the places of their rows, the rows, and log-probabilities and entropies of their
        completions with their divergences from the teacher, if there is one; each [part, seq]."""
        moves = self.plan.objective.entropy_bonus > 0
        replay, teacher = self.rounds.replay, self.rounds.teacher
        if not self.collective and SharedPrompts.fit(policy, batch, self.balance, teacher):
            forwards: Forwards = SharedPrompts(
                policy, batch, self.temperature, replay, self.balance, teacher, entropy_moves=moves
            )
        else:
            forwards = WholeRows(policy, batch, self.temperature, replay, teacher, entropy_moves=moves)
        lesson = MtpLesson(self.mtp, forwards) if self.mtp and torch.is_grad_enabled() else None
        lengths = forwards.lengths().tolist()
        for places in [list(range(len(batch)))] if self.collective else chunks(lengths):
            rows = torch.tensor(places)
            part = batch.trimmed(rows)
            logprobs, entropies = forwards.completion_logprobs(rows, part)
            if lesson:
                lesson.see(rows, part)
            yield rows, part, (logprobs, entropies, forwards.divergences)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's, with the figures of a round beside the first loss that comes of it, and the entropy beside
        each."""
        if "loss" in logs:  # and not the summary that Trainer logs at the end
            logs = {**logs, **self.figures}
            self.figures = {}
        super().log(logs, start_time)

    def train(self, resume_from_checkpoint: str | None = None) -> TrainOutput:
        """As Trainer's, which takes more that nobody gives it."""
        with fused_head(self.policy, self.temperature), without_dropout(self.policy):
            return super().train(resume_from_checkpoint)

    def train_with(self, checkpoints: Checkpoints, **beside: Stateful) -> None:
        own = {"mtp": self.mtp} if self.mtp else {}
        super().train_with(checkpoints, **beside, **own)
        if self.mtp:
            self.mtp.remove()

    def own_state(self) -> JsonObject:
        """What is left of a round, and what draws and replays besides the model."""
        # Between two rounds there is nothing to keep: the next one is drawn anew.
        rest = self.minibatches if self.state.global_step % self.plan.updates else []
        return {
            "minibatches": [batch.tensors() for batch in rest],
            "counts": [float(self.counts.tokens), float(self.counts.sequences)],
            **self.rounds.state(),
        }

    def regrouped(self, states: Sequence[JsonObject]) -> JsonObject:
        """The rollouts of a round, dealt to the processes that there are now. Raises StageError where some would have
        none."""
        before, now = len(states), self.args.world_size
        parts = [[Batch(**tensors) for tensors in state["minibatches"]] for state in states]
        wholes = [joined(same) for same in zip(*parts, strict=True)]
        if 0 < sum(map(len, wholes)) < now:
            raise StageError(f"the {sum(map(len, wholes))} rollouts that its checkpoint holds are too few for {now} "
                             f"processes: go on with {before}")
        mine, dealt_out = [], 0
        for whole in wholes:  # in turn over all updates
            mine.append(whole.rows(torch.arange((self.args.process_index - dealt_out) % now, len(whole), now)))
            dealt_out += len(whole)
        dynamic = states[0].get("dynamic")
        return {
            **states[0],
            "minibatches": [batch.tensors() for batch in mine],
            # What a process has on the mean.
            "counts": [count * before / now for count in states[0]["counts"]],
            "dynamic": dynamic and {**dynamic, "used": -(-sum(one["dynamic"]["used"] for one in states) // now)},
        }

    def restore_own(self, state: JsonObject) -> None:
        self.minibatches = [Batch(**tensors).to(self.accelerator.device) for tensors in state["minibatches"]]
        tokens, sequences = state["counts"]
        self.counts = Counts(torch.tensor(tokens, device=self.accelerator.device), sequences)
        self.rounds.restore(state)


def _with_sampler(batch: Batch) -> Batch:
    """With what drew the rollouts told of them apart from what the training makes of them."""
    return batch if batch.sampler_logprobs is not None else replace(batch, sampler_logprobs=batch.logprobs)


def _with_logprobs(batch: Batch, places: Tensor, found: Tensor) -> Batch:
    """With these log-probabilities of the rows at `places`, [places, seq]; those of the others stay."""
    every = batch.logprobs.clone()
    every[places] = found
    return replace(batch, logprobs=every)
