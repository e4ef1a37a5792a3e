"""`extend`: a longer context, by rescaled rotary positions and training on longer texts in phases."""

import random
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval.language_model import Tokenizer
from pipeline.contract import dataset
from pipeline.contract.dataset import ReadsRows
from pipeline.contract.fields import ArtifactType, DatasetInput, ModelInput
from pipeline.contract.numbers import (
    MOST_TOKENS,
    Batch,
    Probability,
    Steps,
    Weight,
    require_rows,
)
from pipeline.contract.prompt import Prompt
from pipeline.contract.stage import Context, Metrics, Stage
from pipeline.contract.work import Trained, Work
from pipeline.data.corpus import SHORTEST, Behaviour, Corpus
from pipeline.data.order import Ordered, Shuffled, fitting, left_out_of
from pipeline.data.rows import Document, Joined, Rows, Stream
from pipeline.data.tokenized import Tokenized, Wanted, tokenized
from pipeline.models.checks.rope_fields import Scaling
from pipeline.moe.balancing import BalanceSection, Balancing
from pipeline.training.fp8.section import Fp8Section
from pipeline.training.layers.section import CompileSection, require_alone
from pipeline.training.learning import Learning
from pipeline.training.optimizer.schedule import Phased, schedule_of
from rewards.lazy import lazy

with lazy:
    import torch

    from eval.language_model import LanguageModel
    from pipeline.data.rows import Row
    from pipeline.models import pretrained
    from pipeline.models.mtp import module
    from pipeline.models.positions import rescaled
    from pipeline.training.logprobs import completion_logprobs, fused_head
    from pipeline.training.placement import placed
    from pipeline.training.supervised import Plan, train


POSITION_ROWS = 32  # long documents that loss by position is measured on
BUCKETS = 8
ANSWER_ROOM = 48  # tokens kept free after a long prompt for its answer
SHORTEST_WEB = ANSWER_ROOM + SHORTEST
"""Tokens of the shortest phase that the web has long texts for."""


# Long texts are few: what they teach is to find things in them.
RIGHT: dict[Behaviour, float] = {"correct": 0.3, "plain": 0.7}


class Phase(BaseModel):
    """One phase: texts up to `length` tokens for `steps` optimizer steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int = Field(
        ge=16, le=MOST_TOKENS, json_schema_extra={"unit": "tokens"}, description="longest text of the phase"
    )
    steps: Steps = Field(description="optimizer steps of the phase")


class Extend(ReadsRows, Learning, Stage):
    """Extend a model's context in phases, as DeepSeek-V3 did from 4K to 32K to 128K (arXiv 2412.19437, section 4.3).

    `scaling` is what transformers' `rope_parameters` take besides the theta (YaRN: arXiv 2309.00071); without it
    positions are only trained further, as a control. Trains on `data` (rows of prompt and completion, or of text)
    where given, but for one row in ten, 32 at most, on which losses by position are measured; on the synthetic web
    otherwise, of which a share of every batch stays as short as before, so that short skill is kept.
    """

    kind: ClassVar[str] = "extend"
    version: ClassVar[int] = 12
    makes: ClassVar[ArtifactType] = "model"
    distributed: ClassVar[bool] = True

    model: ModelInput = Field(description="the model whose context is extended")
    data: DatasetInput | None = Field(
        default=None, description="rows to train on; the synthetic web where it is left out"
    )
    scaling: Scaling | None = Field(
        default=None, description="rope_type and its fields, as in transformers' rope_parameters; none where left out"
    )
    phases: list[Phase] = Field(min_length=1, description="lengths and steps, from short to long texts")
    short: Probability = Field(
        default=0.5, description="share of the synthetic web's rows that stay as short as before; rows of `data` are "
                                 "as they are"
    )
    prompt: Prompt = Field(default=Prompt(), description="how prompts of the rows are put")
    batch_size: Batch = Field(default=16, description="rows of an optimizer step")
    prompt_weight: Weight = Field(default=0.1, description="weight of prompt tokens in the loss")
    balance: BalanceSection = Balancing()
    fp8: Fp8Section = None
    compile: CompileSection = False

    @model_validator(mode="after")
    def _check_compile(self) -> "Extend":
        if self.compile:
            require_alone(fp8=self.fp8 is not None, gradient_checkpointing=self.gradient_checkpointing)
        return self

    @model_validator(mode="after")
    def _check_phases(self) -> "Extend":
        lengths = [phase.length for phase in self.phases]
        if lengths != sorted(lengths):
            raise ValueError(f"phases go from short to long texts, and these are {lengths}")
        if self.data is None and lengths[0] < SHORTEST_WEB:
            raise ValueError(f"a phase of {lengths[0]} tokens is too short for the long texts of the synthetic web, "
                             f"which take at least {SHORTEST_WEB}")
        require_rows(sum(phase.steps for phase in self.phases) * self.batch_size, "the phases' steps and batch_size")
        return self

    def made_of(self) -> str:
        return self.model

    def context_of_made(self, context: int | None) -> int | None:
        return self.phases[-1].length

    def work(self) -> Work:
        return Work(trained=[
            Trained(self.model, self.batch_size, phase.steps, phase.length, self.data, learning=self.learning(),
                    fp8=self.fp8 is not None, compiled=self.compile)
            for phase in self.phases
        ])

    def run(self, ctx: Context) -> Metrics:
        model, tokenizer = pretrained.take(ctx, self.model, self.dtype)
        longest = self.phases[-1].length
        data = None if self.data is None else tokenized(ctx.cache, tokenizer, self._wanted(ctx, self.data), ctx.note)
        left_out = left_out_of(data, fitting(data, longest, cut=self.too_long == "cut"), ctx.note) if data else {}
        kept_back = [] if data is None else self._kept_back(data)
        held_out = self._unseen(data, kept_back, tokenizer)
        made_for = pretrained.trained_context(model)
        if made_for is not None and longest < made_for:
            ctx.note(f"the model was made for {made_for:,} tokens, and is for {longest:,} behind these phases")
        longer = rescaled(model, longest, self.scaling)  # first: it refuses models that could not read such texts
        with placed(model):
            before = loss_by_position(model, held_out, longest)
        if module.of(model):
            ctx.note("the model's MTP module is of shorter texts, and is left out of the extended model")
        model = longer
        tokenizer.model_max_length = longest
        streams = [self._phase(number, data, kept_back, tokenizer, ctx) for number in range(1, len(self.phases) + 1)]
        metrics = train(ctx, model, tokenizer, Joined(streams), self._plan())
        pretrained.save(model, tokenizer, ctx.out)
        after = loss_by_position(model, held_out, longest)
        return {
            **metrics,
            "parameters": pretrained.parameters(model),
            "length": longest,
            "loss_by_position": {"before": before, "after": after},
            **left_out,
        }

    def _wanted(self, ctx: Context, data: str) -> Wanted:
        selection = dataset.parse(data).selection
        return Wanted(ctx.path(data), selection, self.prompt.prompting(), drop=dataset.drops_bad_rows(self))

    def _phase(
        self, number: int, data: Tokenized | None, kept_back: Sequence[int], tokenizer: Tokenizer, ctx: Context
    ) -> Rows:
        """The rows of a phase."""
        phase, rng = self.phases[number - 1], random.Random(f"extend:{ctx.seed}:{number}")
        count = phase.steps * self.batch_size

        def begin() -> None:
            ctx.note(f"phase {number} of {len(self.phases)}: up to {phase.length} tokens")

        if data is not None:
            return Shuffled(data, count, phase.length, rng, cut=self.too_long == "cut",
                            prompt_weight=self.prompt_weight, begin=begin, left_out=kept_back)

        def documents() -> Iterator[Document]:
            begin()
            yield from self._web(phase.length, self.short, rng)

        return Stream(tokenizer, documents(), count, phase.length, self.prompt_weight, self.prompt.prompting())

    def _unseen(self, data: Tokenized | None, kept_back: list[int], tokenizer: Tokenizer) -> Sequence["Row"]:
        """The long rows, which nothing is trained on, that losses by position are measured on."""
        longest = self.phases[-1].length
        if data is not None:
            rows: Rows = Ordered(data, kept_back, longest, self.prompt_weight)
        else:
            web = self._web(longest, 0.0, random.Random("positions"))
            rows = Stream(tokenizer, web, POSITION_ROWS, longest, self.prompt_weight, self.prompt.prompting())
        return [rows[number] for number in range(len(rows))]

    def _kept_back(self, data: Tokenized) -> list[int]:
        """The numbers of the rows that are not trained on."""
        numbers = fitting(data, self.phases[-1].length, cut=self.too_long == "cut").numbers
        return random.Random("positions").sample(numbers, min(POSITION_ROWS, len(numbers) // 10))

    def _plan(self) -> "Plan":
        phases = [schedule_of(self.schedule, phase.steps, warmup=5) for phase in self.phases]
        schedule = Phased(phases)
        return Plan(schedule.end, self.batch_size, self, schedule, self.balance, fp8=self.fp8,
                    compiled=self.compile)

    def _web(self, length: int, short: float, rng: random.Random) -> Iterator[Document]:
        """Documents without end."""
        short_texts = Corpus().documents(rng)
        long_texts = Corpus(
            facts=0.0, lists=0.15, needles=0.15, words=0.5, filled=1.0, length=length - ANSWER_ROOM, behaviours=RIGHT
        ).documents(rng)
        while True:
            yield next(short_texts if rng.random() < short else long_texts)


def loss_by_position(model: "LanguageModel", rows: Sequence["Row"], length: int) -> list[float | None]:
    """Mean loss of the trained-on tokens in each of `BUCKETS` equal spans of positions up to `length`; None where a
    span has none. Rows are read one at a time: the logits of several long ones would fill a memory."""
    ends = torch.tensor([bucket * length // BUCKETS for bucket in range(1, BUCKETS)])
    sums, counts = (torch.zeros(BUCKETS, dtype=torch.float64) for _ in range(2))
    model.eval()
    with torch.no_grad(), fused_head(model, temperature=1.0):
        for row in rows:
            ids = torch.tensor([row["input_ids"]], device=model.device)
            logprobs = completion_logprobs(model, ids, torch.ones_like(ids), ids.shape[1] - 1, 1.0)[0][0]
            learned = torch.tensor(row["weights"][1:]) == 1.0
            span = torch.bucketize(torch.arange(len(learned)), ends, right=True)[learned]
            sums.index_add_(0, span, -logprobs.cpu().double()[learned])
            counts += torch.bincount(span, minlength=BUCKETS)
    model.train()
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]
