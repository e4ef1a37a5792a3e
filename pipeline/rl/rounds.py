"""A round of GRPO up to its loss: drawn, graded, given advantages, scored, and dealt to the round's updates."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from eval.engine.types import Sampled
from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import StageError
from pipeline.contract.processes import share_of
from pipeline.disk.durable import JsonObject
from pipeline.moe.balance import has_adapters
from pipeline.moe.routers import routers
from pipeline.rl.batch import Batch, dealt, forced, padded
from pipeline.rl.objectives.advantages import Advantages, group_advantages, rewards_of
from pipeline.rl.objectives.objective import Counts
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.ahead import Ahead
from pipeline.rl.rollouts.curriculum import Curriculum
from pipeline.rl.rollouts.drawing import Visit, drawing_for
from pipeline.rl.rollouts.dynamic_sampling import DynamicSampling
from pipeline.rl.rollouts.keeping import Keeping
from pipeline.rl.rollouts.reward_function import Grading
from pipeline.rl.rollouts.sampler_gap import SamplerGap, rounded_apart
from pipeline.rl.scoring.reference import Reference
from pipeline.rl.scoring.rollout_replay import RolloutReplay
from pipeline.rl.scoring.scoring import Scoring, Teacher, logprobs_of
from pipeline.training.learning import ADAPTERS_IN_PARTS
from pipeline.training.on_processors import autocast, computes_in_bfloat16

Part = RolloutReplay | DynamicSampling | SamplerGap | Curriculum


@dataclass(frozen=True)
class Round:
    """What one process has of a round.

    minibatches  its rollouts, as one for each update
    counts       what the losses of an update are divided by
    figures      what the log tells of the round
    tokens       of prompts and completions, over all processes
    """

    minibatches: list[Batch]
    counts: Counts
    figures: dict[str, float]
    tokens: int


class Rounds:
    """Makes a training's rounds of `visits`, which are used once and in their order, `plan.prompts` a round.

    The number of a round alone says where in the visits it stands, so that a resumed training asks for the same ones.
    """

    def __init__(
        self, policy: LanguageModel, accelerator: Accelerator, tokenizer: Tokenizer, plan: GrpoPlan,
        visits: Sequence[Visit], grading: Grading, scoring: Scoring, parted: bool,
    ) -> None:
        """Made while the policy is whole; `parted` says whether its weights will lie in parts."""
        self.policy, self.accelerator, self.plan = policy, accelerator, plan
        self.visits, self.grading, self.scoring = visits, grading, scoring
        self.temperature = plan.sampling.temperature
        self.replay: RolloutReplay | None = None
        if plan.replay and routers(policy):  # a dense policy has no experts to replay
            self.replay = RolloutReplay(policy, plan.replay, self.temperature, scoring)
        self.reference: Reference | None = None
        in_bfloat16 = computes_in_bfloat16(plan.learning.mixed_precision)
        self.precision = partial(autocast, accelerator.device, in_bfloat16)
        if plan.objective.beta:
            self.reference = Reference(policy, self.temperature, accelerator.device, scoring)
        if parted and has_adapters(policy):
            raise StageError(ADAPTERS_IN_PARTS)
        recorded = self.replay is not None and plan.replay == "rollout"
        self.apart = rounded_apart(policy, plan)
        self.gap = SamplerGap(plan.vllm) if plan.vllm or self.apart else None
        self.drawing = drawing_for(policy, accelerator, tokenizer, plan, record_experts=recorded, parted=parted)
        self.ahead = Ahead(self._draw) if plan.staleness else None
        self.dynamic: DynamicSampling | None = None  # where groups without signal give way to others
        self.keeping: Keeping | None = None  # where somebody may look at the rollouts
        self.curriculum: Curriculum | None = None  # where visits are chosen as it goes, in the place of `visits`
        self.teacher: Teacher | None = None  # where the policy learns from one

    def make(self, number: int) -> Round:
        """The rollouts of a round, drawn and graded and with their advantages. Those of the next one are begun where
        they are drawn ahead."""
        own = self._own(self._visits_of(number))
        ahead = self.ahead.take(own) if self.ahead else None
        if ahead is None:
            self.drawing.source.refresh()
        asked, sampled = ahead or self._draw(own)
        rewards = rewards_of(self.grading.finish([one.asked for one in asked], sampled))
        if self.curriculum:
            self.curriculum.see(asked)
        prompts = self.drawing.prompts(asked)
        if self.ahead and (following := self._visits_of(number + 1)):
            # After grading and encoding, which the next round does in its own thread from here on.
            if ahead is not None:  # else the server has the weights of now
                self.drawing.source.refresh()
            self.ahead.begin(self._own(following))
        everyones = self.accelerator.gather(rewards.to(self.accelerator.device))  # [rollouts of all processes]
        objective = self.plan.objective
        advantages = group_advantages(everyones, self.plan.group_size, objective.scale, objective.form.baseline)
        # Groups may be split between processes: advantages are computed of everyone's rewards, and each keeps its
        # own.
        begins = self.accelerator.process_index * len(asked)
        batch = padded(prompts, sampled, self.drawing.tokenizer.pad_token_id).to(self.accelerator.device)
        batch = replace(batch, advantages=advantages.values[begins : begins + len(asked)])
        if self.plan.prompting.forces:
            places = forced(sampled, batch.completion_ids.shape[1])
            batch = replace(batch, forced=places.to(self.accelerator.device))
        batch = self._scored(batch, sampled)
        if self.keeping:
            # Where the policy's own log-probabilities come with the updates there is one kind to be told until then.
            alike = batch.sampler_logprobs is batch.logprobs
            self.keeping.keep(1 + number, asked, replace(batch, sampler_logprobs=None) if alike else batch)
        # The order is everyone's, so that an update has the same rollouts on any number of processes; it comes from
        # torch's own stream, whose state is in every checkpoint.
        order = broadcast(torch.randperm(len(everyones)).to(self.accelerator.device))
        return self._counted(batch, dealt(batch, order, self.plan.updates, begins), everyones, advantages)

    def _visits_of(self, number: int) -> Sequence[Visit]:
        """Of a round; none after the last."""
        if self.curriculum:
            return self.curriculum.round(number)
        return self.visits[number * self.plan.prompts : (number + 1) * self.plan.prompts]

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
            return self.drawing.draw(asked, first, lambda place, one: self.grading.begin(asked[place].asked, one))

        def rewards(asked: Sequence[Visit], drawn: Sequence[Sampled]) -> list[float | None]:
            return self.grading.totals([one.asked for one in asked], drawn)

        if self.dynamic:
            return self.dynamic.fill(visits, draw, rewards)
        return visits, draw(visits)

    def _scored(self, batch: Batch, sampled: Sequence[Sampled]) -> Batch:
        """With what the policy, before its first update on them, the reference and a teacher make of the rollouts."""
        with self.precision():
            batch = self._scored_by_policy(batch, sampled)
        return self.teacher.told(batch) if self.teacher else batch

    def _scored_by_policy(self, batch: Batch, sampled: Sequence[Sampled]) -> Batch:
        """In the precision of the training, so that ratios begin at 1 and divergences at 0."""
        if self.gap:
            # What drew did not compute quite as the training does: log-probabilities of both are kept, and the
            # objective weighs by their ratio.
            batch = replace(batch, sampler_logprobs=batch.logprobs)
        if self.replay:
            batch = self.replay.record(batch, sampled)
        if self.gap and self.plan.vllm:
            # "policy" has scored them, since its experts are those of that forward
            if not self.replay or self.replay.source == "rollout":
                batch = replace(batch, logprobs=self._logprobs(batch))
            self.gap.measure(batch)
        if self.reference:
            batch = replace(batch, reference=self.reference.logprobs(batch))
        return batch

    def _logprobs(self, batch: Batch) -> Tensor:
        """Of the completions' tokens under the policy, with their experts where they are replayed, [rows, seq]."""

        def score(part: Batch) -> Tensor:
            with self.replay.of(part) if self.replay else nullcontext():
                return logprobs_of(self.policy, part, self.temperature)

        return self.scoring.logprobs(batch, score)

    def _counted(
        self, batch: Batch, minibatches: list[Batch], rewards: Tensor, advantages: Advantages
    ) -> Round:
        """The round, with what its losses are divided by and what the log tells of it. `rewards` [rollouts] are of all
        processes."""
        lengths = self.accelerator.gather(batch.completion_mask.sum(dim=1))  # [rollouts]
        drawn = self.accelerator.gather(batch.drawn_mask.sum(dim=1))
        prompts = self.accelerator.gather(batch.prompt_mask.sum(dim=1))
        # Gradients are averaged over processes, and the round is shared by its updates.
        updates = self.accelerator.num_processes * self.plan.updates
        counts = Counts(drawn.sum().clamp(min=1.0) / updates, self.plan.rollouts / updates)
        figures = {
            "reward": torch.nanmean(rewards).item(),
            "length": lengths.float().mean().item(),
            "groups_without_signal": advantages.without_signal,
        }
        if self.plan.prompting.tools is not None:
            figures["calls"] = self.accelerator.gather(batch.observations.double()).mean().item()
        elif batch.forced is not None:
            figures["thinking_cut"] = (drawn < lengths).double().mean().item()
        return Round(minibatches, counts, figures, int(lengths.sum() + prompts.sum()))

    @property
    def parts(self) -> dict[str, Part]:
        """Those that there are, by the names of their states: each goes on with a training, and has figures to tell."""
        parts: dict[str, Part | None] = {
            "replay": self.replay, "dynamic": self.dynamic, "gap": self.gap, "curriculum": self.curriculum
        }
        return {name: part for name, part in parts.items() if part}

    def state(self) -> JsonObject:
        return {name: part.state() for name, part in self.parts.items()}

    def restore(self, state: JsonObject) -> None:
        for name, part in self.parts.items():
            part.restore(state[name])
