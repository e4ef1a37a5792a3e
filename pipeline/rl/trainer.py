"""GRPO, a step from top to bottom: draw, grade, advantages, loss, optimizer step.

Why this is transformers' Trainer and not trl's GRPOTrainer. trl's loop is built around its own sampler, generation
buffer and padded dictionaries. To draw with our engine, to grade while drawing, to leave out rows without a gradient,
to read a prompt once for its group and to replay experts, eight of its private methods had to be overridden against the
flow of it, and its next release could change each of them. What is left of the algorithm is short (`advantages.py`,
`loss.py`) and is tested against trl's numbers. transformers' Trainer stays for what it does well: optimizer, schedule,
precision, processes (through accelerate), checkpoints.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from accelerate.utils import broadcast, set_seed
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import default_collate
from transformers import Trainer, TrainingArguments

from eval.engine.types import Sampled
from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.checkpoints import Checkpoints
from pipeline.contract.errors import StageError
from pipeline.contract.processes import share_of
from pipeline.disk.durable import JsonObject
from pipeline.moe.balance import Balance, has_adapters
from pipeline.moe.routers import routers
from pipeline.rl.advantages import Advantages, group_advantages, rewards_of
from pipeline.rl.batch import Batch, dealt, forced, joined, padded
from pipeline.rl.forwards import Forwards, SharedPrompts, WholeRows
from pipeline.rl.objective import Counts
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.reference import Reference
from pipeline.rl.rollout_replay import RolloutReplay
from pipeline.rl.rollouts.ahead import Ahead
from pipeline.rl.rollouts.curriculum import Curriculum
from pipeline.rl.rollouts.drawing import Visit, drawing_for
from pipeline.rl.rollouts.dynamic_sampling import DynamicSampling
from pipeline.rl.rollouts.keeping import Keeping
from pipeline.rl.rollouts.reward_function import Grading
from pipeline.rl.rollouts.sampler_gap import SamplerGap
from pipeline.rl.scoring import Scoring, Teacher, logprobs_of
from pipeline.training import gradients
from pipeline.training.chunks import chunks
from pipeline.training.logprobs import fused_head
from pipeline.training.micro_batches import as_many, by_length, split
from pipeline.training.optimizer.schedule import schedule_of
from pipeline.training.recomputation import checkpoint_layers
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
        if args.n_gpu > 1:
            raise StageError(f"one process sees {args.n_gpu} GPUs; start it with an accelerate config, or show it one "
                             "by CUDA_VISIBLE_DEVICES")
        # A row for each optimizer step of each process: Trainer counts by its data; what is in a step is made here.
        steps = Dataset.from_dict({"step": range(args.max_steps * args.world_size)})
        super().__init__(
            model=model, args=args, train_dataset=steps, data_collator=default_collate, processing_class=tokenizer
        )
        # rows are dealt to updates at random, on each process in its own order
        set_seed(args.seed, device_specific=True)
        self.plan, self.visits, self.grading, self.balance, self.dynamic = plan, visits, grading, balance, dynamic
        self.policy: LanguageModel = self.accelerator.unwrap_model(self.model)
        self.temperature = plan.sampling.temperature
        learning = plan.learning
        # As GRPO is published, rates are constant after the warm-up.
        self.learn_by(learning, "reinforcement", schedule_of(
            learning.schedule, args.max_steps, warmup=4, shape="constant", first=0
        ))
        self.scoring = Scoring(self.most_tokens, self.collective)
        self.replay: RolloutReplay | None = None
        if plan.replay and routers(self.policy):  # a dense policy has no experts to replay
            self.replay = RolloutReplay(self.policy, plan.replay, self.temperature, self.scoring)
        if learning.gradient_checkpointing:
            checkpoint_layers(self.policy, [balance, *([self.replay.replay] if self.replay else [])])
        device = self.accelerator.device
        self.reference = None
        if plan.objective.beta:
            self.reference = Reference(self.policy, self.temperature, device, self.scoring)
        if self.parted and has_adapters(self.policy):
            raise StageError("rollouts of adapters are not drawn while the weights lie in parts: leave lora out, or "
                             "take DDP or ZeRO-2, which hold them whole")
        recorded = self.replay is not None and plan.replay == "rollout"
        self.gap = SamplerGap(plan.vllm) if plan.vllm else None
        self.drawing = drawing_for(
            self.policy, self.accelerator, tokenizer, plan, record_experts=recorded, parted=self.parted
        )
        self.ahead = Ahead(self._draw) if plan.staleness else None
        self.keeping: Keeping | None = None  # where somebody may look at the rollouts
        self.curriculum: Curriculum | None = None  # where visits are chosen as it goes, in the place of `visits`
        self.teacher: Teacher | None = None  # where the policy learns from one
        self.minibatches: list[Batch] = []  # of this round, one an update
        self.counts = Counts(1.0, 1.0)
        self.figures: dict[str, float] = {}  # of this round, for the log
        # of this optimizer step: sums over tokens of entropies and divergences, and the tokens
        self.sums = torch.zeros(3, dtype=torch.float64, device=self.accelerator.device)

    def training_step(self, model: nn.Module, inputs: object, num_items_in_batch: object = None) -> Tensor:
        """One optimizer step's gradients, on rollouts that are drawn anew where a round begins; returns the loss, a
        scalar."""
        # The step alone says where in the visits a round stands, so that a resumed training asks for the same ones.
        number, update = divmod(self.state.global_step, self.plan.updates)
        if update == 0:
            self.minibatches = self.roll_out(self._visits_of(number), lambda: self._visits_of(number + 1))
        model.train()
        # As accelerate wraps it where its forwards are collective; else each process runs as if it were alone.
        policy: LanguageModel = model if self.collective else self.policy  # type: ignore[assignment]
        batch = self.moving(self.minibatches[update])
        # of all processes, which may have unequal numbers of rows, and one none
        rows = self._mean(len(batch))
        total = torch.zeros((), device=batch.advantages.device)
        parts = self._parts(batch)
        for number, places in enumerate(parts, start=1):
            part = batch.trimmed(places) if len(places) else None
            with self.compute_loss_context_manager():
                loss = self.loss(policy, part, len(part) / rows) if part else self._idle(policy)
            self.backward(loss, last=number == len(parts))
            total += loss.detach()
        if not self.collective:
            gradients.average(self.policy.parameters())
        self._log_sums()
        return total

    def _visits_of(self, number: int) -> Sequence[Visit]:
        """Of a round; none after the last."""
        if self.curriculum:
            return self.curriculum.round(number)
        return self.visits[number * self.plan.prompts : (number + 1) * self.plan.prompts]

    def roll_out(
        self, visits: Sequence[Visit], following: Callable[[], Sequence[Visit]] = tuple
    ) -> list[Batch]:
        """The rollouts of a round, drawn and graded and with their advantages, as one minibatch for each update. Those
        of the `following` round, for which this one is asked when it is graded, are begun where they are drawn
        ahead."""
        own = self._own(visits)
        ahead = self.ahead.take(own) if self.ahead else None
        if ahead is None:
            self.drawing.source.refresh()
        asked, sampled = ahead or self._draw(own)
        rewards = rewards_of(self.grading.finish([one.asked for one in asked], [one.ids for one in sampled]))
        if self.curriculum:
            self.curriculum.see(asked)
        prompts = self.drawing.prompts(asked)
        if self.ahead and (next_visits := following()):
            # After grading and encoding, which the next round does in its own thread from here on.
            if ahead is not None:  # else the server has the weights of now
                self.drawing.source.refresh()
            self.ahead.begin(self._own(next_visits))
        everyones = self.accelerator.gather(rewards.to(self.accelerator.device))  # [rollouts of all processes]
        objective = self.plan.objective
        advantages = group_advantages(everyones, self.plan.group_size, objective.scale, objective.form.baseline)
        # Groups may be split between processes: advantages are computed of everyone's rewards, and each keeps its
        # own.
        begins = self.accelerator.process_index * len(asked)
        batch = padded(
            prompts, sampled, self.drawing.tokenizer.pad_token_id
        ).to(self.accelerator.device)
        batch = replace(batch, advantages=advantages.values[begins : begins + len(asked)])
        if self.plan.prompting.thinking_budget is not None:
            places = forced(sampled, batch.completion_ids.shape[1])
            batch = replace(batch, forced=places.to(self.accelerator.device))
        batch = self._scored(batch, sampled)
        if self.keeping:
            self.keeping.keep(1 + self.state.global_step // self.plan.updates, asked, batch)
        self._count(batch, everyones, advantages)
        # The order is everyone's, so that an update has the same rollouts on any number of processes; it comes from
        # torch's own stream, whose state is in every checkpoint.
        order = broadcast(torch.randperm(len(everyones)).to(self.accelerator.device))
        return dealt(batch, order, self.plan.updates, begins)

    def moving(self, batch: Batch) -> Batch:
        """The rows of an optimizer step that have a gradient; with a teacher each has."""
        if self.teacher:
            return batch
        moving = self.plan.objective.moves(batch)
        if self._mean(len(moving)) == 0:
            # One row where nobody has any, for a loss with a graph: the optimizer step is made either way, since all
            # processes and the schedule count on it.
            return batch.rows(torch.arange(min(1, len(batch))))
        return batch.rows(moving)

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
        """A forward for the sake of processes that have more: its loss is 0, and so are its gradients."""
        row = next(batch for batch in self.minibatches if len(batch)).trimmed(torch.arange(1))
        with self.balance.uncounted(), self.replay.replay.uncounted() if self.replay else nullcontext():
            [(_, (logprobs, _, _))] = self._forwards(policy, row)
        return logprobs.sum() * 0

    def loss(self, policy: LanguageModel, batch: Batch, share: float = 1.0) -> Tensor:
        """What rows add to the loss of an optimizer step, a scalar with its graph; they are a `share` of those that a
        process has on the mean. They run in chunks of similar length."""
        total = torch.zeros((), device=batch.advantages.device)
        for part, (logprobs, entropy, divergences) in self._forwards(policy, batch):
            total = total + self.plan.objective.loss(logprobs, part, self.counts, entropy)
            mask = part.drawn_mask
            sums = [(entropy * mask).sum(), entropy.new_zeros(()), mask.sum().to(entropy.dtype)]
            if self.teacher and divergences is not None:
                total = total + self.teacher.weight * self.plan.objective.mean(divergences, mask, self.counts)
                sums[1] = (divergences * mask).sum()
            self.sums += torch.stack(sums).detach().double()
        # An auxiliary loss is a mean over the tokens that it saw.
        return total + self.balance.loss() * share

    def _log_sums(self) -> None:
        """Of an optimizer step: means over the tokens of all processes."""
        entropy, divergence, tokens = self.accelerator.reduce(self.sums, "sum").tolist()
        self.figures["entropy"] = entropy / max(1.0, tokens)
        if self.teacher:
            self.figures["divergence"] = divergence / max(1.0, tokens)
        self.sums = torch.zeros_like(self.sums)

    def _mean(self, value: float) -> float:
        """The mean over processes."""
        return float(self.accelerator.reduce(torch.tensor(float(value), device=self.accelerator.device), "mean"))

    def _forwards(
        self, policy: LanguageModel, batch: Batch
    ) -> Iterator[tuple[Batch, tuple[Tensor, Tensor, Tensor | None]]]:
        """Parts of the batch, with log-probabilities and entropies of their completions, and with their divergences
        from the teacher, if there is one; each [part, seq]."""
        moves = self.plan.objective.entropy_bonus > 0
        if not self.collective and SharedPrompts.fit(policy, batch, self.balance):
            forwards: Forwards = SharedPrompts(
                policy, batch, self.temperature, self.replay, self.balance, self.teacher, entropy_moves=moves
            )
        else:
            forwards = WholeRows(policy, batch, self.temperature, self.replay, self.teacher, entropy_moves=moves)
        lengths = forwards.lengths().tolist()
        for places in [list(range(len(batch)))] if self.collective else chunks(lengths):
            rows = torch.tensor(places)
            part = batch.trimmed(rows)
            logprobs, entropies = forwards.completion_logprobs(rows, part)
            yield part, (logprobs, entropies, forwards.divergences)

    def _own(self, visits: Sequence[Visit]) -> list[Visit]:
        """This process's part of a round: each visit once for every rollout of its group, groups side by side."""
        # A group stands side by side: it becomes one request, whose prompt is read once.
        everyones = [visit for visit in visits for _ in range(self.plan.group_size)]
        share = share_of(len(everyones))
        begins = self.accelerator.process_index * share
        return everyones[begins : begins + share]

    def _draw(self, visits: list[Visit]) -> tuple[list[Visit], list[Sampled]]:
        """What was asked and drawn: `visits`, or others in the place of groups that teach nothing."""

        def draw(asked: Sequence[Visit]) -> list[Sampled]:
            # Grading begins while other rollouts are still written.
            first = self.accelerator.process_index * len(asked)
            return self.drawing.draw(asked, first, lambda place, one: self.grading.begin(asked[place].asked, one.ids))

        def rewards(asked: Sequence[Visit], drawn: Sequence[Sampled]) -> list[float | None]:
            return self.grading.totals([one.asked for one in asked], [one.ids for one in drawn])

        if self.dynamic:
            return self.dynamic.fill(visits, draw, rewards)
        return visits, draw(visits)

    def _scored(self, batch: Batch, sampled: Sequence[Sampled]) -> Batch:
        """With what the policy, before its first update on them, and the reference make of the rollouts."""
        if self.gap:
            # vLLM's log-probabilities are not quite the policy's: both are kept, and the objective weighs by their
            # ratio.
            batch = replace(batch, sampler_logprobs=batch.logprobs)
        if self.replay:
            batch = self.replay.record(batch, sampled)
        if self.gap:
            # "policy" has scored them, since its experts are those of that forward
            if not self.replay or self.replay.source == "rollout":
                batch = replace(batch, logprobs=self._logprobs(batch))
            self.gap.measure(batch)
        if self.reference:
            batch = replace(batch, reference=self.reference.logprobs(batch))
        return self.teacher.told(batch) if self.teacher else batch

    def _logprobs(self, batch: Batch) -> Tensor:
        """Of the completions' tokens under the policy, with their experts where they are replayed, [rows, seq]."""

        def score(part: Batch) -> Tensor:
            with self.replay.of(part) if self.replay else nullcontext():
                return logprobs_of(self.policy, part, self.temperature)

        return self.scoring.logprobs(batch, score)

    def _count(self, batch: Batch, rewards: Tensor, advantages: Advantages) -> None:
        """Count what the round's losses are divided by, and what the log tells of it. `rewards` [rollouts] are of all
        processes."""
        lengths = self.accelerator.gather(batch.completion_mask.sum(dim=1))  # [rollouts]
        drawn = self.accelerator.gather(batch.drawn_mask.sum(dim=1))
        prompts = self.accelerator.gather(batch.prompt_mask.sum(dim=1))
        # Gradients are averaged over processes, and the round is shared by its updates.
        updates = self.accelerator.num_processes * self.plan.updates
        self.counts = Counts(drawn.sum().clamp(min=1.0) / updates, self.plan.rollouts / updates)
        self.state.num_input_tokens_seen += int(lengths.sum() + prompts.sum())
        self.figures = {
            "reward": torch.nanmean(rewards).item(),
            "length": lengths.float().mean().item(),
            "groups_without_signal": advantages.without_signal,
        }
        if batch.forced is not None:
            self.figures["thinking_cut"] = (drawn < lengths).double().mean().item()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's, with the figures of a round beside the first loss that comes of it, and the entropy beside
        each."""
        if "loss" in logs:  # and not the summary that Trainer logs at the end
            logs = {**logs, **self.figures}
            self.figures = {}
        super().log(logs, start_time)

    def train_with(self, checkpoints: Checkpoints, **beside: Stateful) -> None:
        with fused_head(self.policy, self.temperature):
            super().train_with(checkpoints, **beside)

    def own_state(self) -> JsonObject:
        """What is left of a round, and what draws and replays besides the model."""
        # Between two rounds there is nothing to keep: the next one is drawn anew.
        rest = self.minibatches if self.state.global_step % self.plan.updates else []
        return {
            "minibatches": [batch.tensors() for batch in rest],
            "counts": [float(self.counts.tokens), float(self.counts.sequences)],
            "replay": self.replay.state() if self.replay else None,
            "dynamic": self.dynamic.state() if self.dynamic else None,
            "gap": self.gap.state() if self.gap else None,
            "curriculum": self.curriculum.state() if self.curriculum else None,
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
        dynamic = states[0]["dynamic"]
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
        if self.replay:
            self.replay.restore(state["replay"])
        if self.dynamic:
            self.dynamic.restore(state["dynamic"])
        if self.gap:
            self.gap.restore(state["gap"])
        if self.curriculum:
            self.curriculum.restore(state["curriculum"])
