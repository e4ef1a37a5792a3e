"""Drawing the rollouts of a GRPO step: which engine, from which weights, with which seeds."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from accelerate import Accelerator

from eval.answer_reader import AnswerReader
from eval.answering import answered
from eval.engine import engine_for
from eval.engine.types import Engine, Request, Sampled, rollout_seed
from eval.language_model import LanguageModel, Tokenizer
from eval.prompts import encode_prompts, question_text
from eval.protocol import Effort, Prompting
from pipeline.contract.errors import StageError
from pipeline.contract.processes import share_of
from pipeline.models.pretrained import context_length
from pipeline.moe.routers import routers
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.efforts import asked_with
from pipeline.rl.rollouts.rollout_model import RolloutModel
from pipeline.serving.speculation import drafter_of
from rewards.lazy import lazy
from rewards.types import Problem

with lazy:  # loads trl's vLLM client, which most trainings have no use for
    from pipeline.rl.rollouts.colocated import ColocatedEngine


class Visit(NamedTuple):
    """One turn of a problem in the training: its prompt, its id, how often it was asked before, and with which effort,
    where it is asked with one."""

    prompt: str
    problem: str
    visit: int
    effort: Effort | None = None

    @property
    def asked(self) -> str:
        """What is graded by: the problem, and the effort that it is asked with."""
        return asked_with(self.problem, self.effort)


def visits_of(problems: Sequence[Problem], how: Prompting, stream: str, count: int) -> list[Visit]:
    """The first so many visits of problems that are put as `how` says, every epoch of them in an order of its own,
    which `stream` names."""
    visits: list[Visit] = []
    epoch = 0
    while len(visits) < count:
        order = random.Random(f"{stream}:{epoch}").sample(problems, len(problems))
        visits += [Visit(question_text(problem, how), problem.id, epoch) for problem in order]
        epoch += 1
    return visits[:count]


class Source(Protocol):
    """Where the engine's weights come from; `refresh` gives them those of the policy of now."""

    def refresh(self) -> None: ...


@dataclass
class Drawing:
    """Draws a rollout for each visit. A rollout's draws come from (`plan.seed_parts`, problem, visit, place in the
    group) alone, and so do not depend on what else is drawn, on earlier steps, or on how many processes share the work.

    `source` refreshes the weights behind `engine` before the rollouts of a step. `context` is how many tokens prompt
    and answer may have together; None where there is no limit.
    """

    engine: Engine
    source: Source
    tokenizer: Tokenizer
    plan: GrpoPlan
    context: int | None = None

    @cached_property
    def reader(self) -> AnswerReader:
        """Tells where thinking ends."""
        return AnswerReader(self.tokenizer, stop=self.plan.sampling.stop)

    def prompts(self, visits: Sequence[Visit]) -> list[list[int]]:
        """The token ids of each visit's prompt. A prompt that stands several times is encoded once."""
        ids: dict[tuple[str, Effort | None], list[int]] = {}
        for effort in dict.fromkeys(one.effort for one in visits):
            texts = list(dict.fromkeys(one.prompt for one in visits if one.effort == effort))
            encoded = encode_prompts(self.tokenizer, texts, self.plan.prompting.asking(effort))
            ids |= {(text, effort): prompt for text, prompt in zip(texts, encoded, strict=True)}
        return [ids[one.prompt, one.effort] for one in visits]

    def draw(self, visits: Sequence[Visit], first: int, written: Callable[[int, Sampled], None]) -> list[Sampled]:
        """A rollout of every visit, in their order. `first` is the place of the first among those of all processes;
        `written` is told of each rollout as soon as it is done, with its place in `visits`.

        Visits of one prompt stand side by side and become one request, so that the engine reads the prompt once for its
        group. Raises StageError for a prompt that leaves no room for an answer.
        """
        requests: list[Request] = []
        begins: list[int] = []  # the place in `visits` of the first of each request
        seeds: list[int] = []
        for place, (visit, prompt) in enumerate(zip(visits, self.prompts(visits), strict=True)):
            if not requests or requests[-1].prompt != prompt:
                seeds = []
                requests.append(Request(prompt, seeds, self._room(visit, prompt)))
                begins.append(place)
            # Counted over all processes, so that their number changes no draw.
            in_group = (first + place) % self.plan.group_size
            seeds.append(rollout_seed(*self.plan.seed_parts, visit.problem, visit.visit, in_group))

        def done(request: int, index: int, one: Sampled) -> None:
            written(begins[request] + index, one)

        how = self.plan.prompting
        groups = answered(self.engine, self.reader, requests, self.plan.sampling, how, written=done)
        return [one for group in groups for one in group]

    def _room(self, visit: Visit, prompt: Sequence[int]) -> int | None:
        if self.context is None:
            return None
        if len(prompt) >= self.context:
            raise StageError(f"the prompt of problem {visit.problem} has {len(prompt):,} tokens, and the model's "
                             f"positions end at {self.context:,}; leave it out")
        return self.context - len(prompt)


def drawing_for(
    policy: LanguageModel, accelerator: Accelerator, tokenizer: Tokenizer, plan: GrpoPlan, record_experts: bool,
    parted: bool,
) -> Drawing:
    """What the plan asks for: a server of vLLM's, vLLM in this process, or the engine of this process over the policy,
    or over a copy of it in `rollout_dtype`, or where it will lie in parts. With `record_experts` each rollout has the
    experts that its tokens took."""
    context = context_length(policy)
    if plan.served:
        return Drawing(plan.served.engine, plan.served, tokenizer, plan, context)
    if plan.vllm:
        share = share_of(plan.rollouts)
        engine = ColocatedEngine(policy, accelerator, tokenizer, plan.vllm, plan.sampling, plan.group_size, share)
        return Drawing(engine, engine, tokenizer, plan, context)
    source = RolloutModel(policy, plan.rollout_dtype, accelerator.device, parted=parted)
    recorded = [router.users for router in routers(source.model)] if record_experts else []
    drafter = drafter_of(policy, plan.speculate)
    native = engine_for(source.model, tokenizer, experts=recorded, drafter=drafter)
    return Drawing(native, source, tokenizer, plan, context)
