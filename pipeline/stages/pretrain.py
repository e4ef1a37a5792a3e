"""`pretrain`: a base model from scratch on the synthetic web, until a probe says that the skill is there."""

import dataclasses
import random
from itertools import chain, islice
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contract.fields import ArtifactType, ModelInput
from pipeline.contract.numbers import (
    MOST_TOKENS,
    Batch,
    Probability,
    Steps,
    Weight,
    require_rows,
)
from pipeline.contract.room import LIMITS, limit_of
from pipeline.contract.stage import Context, Metrics, Stage
from pipeline.contract.work import Trained, Work
from pipeline.data.corpus import Corpus
from pipeline.data.rows import Joined, Rows, Stream
from pipeline.disk.durable import JsonObject
from pipeline.models.checks.architecture import Architecture, faults
from pipeline.models.checks.config_source import settled
from pipeline.models.checks.faults import raise_faults
from pipeline.models.checks.sizes import balance_fault
from pipeline.models.mtp.section import MtpSection
from pipeline.moe.balancing import BalanceSection, Balancing
from pipeline.training.fp8.section import Fp8Section
from pipeline.training.layers.section import CompileSection, require_alone
from pipeline.training.learning import Learning
from pipeline.training.optimizer.schedule import schedule_of
from rewards.lazy import lazy

with lazy:
    import torch

    from eval.language_model import Tokenizer
    from pipeline.models import pretrained, special_tokens
    from pipeline.models.build import build, cast
    from pipeline.models.tokenizer import train_tokenizer
    from pipeline.training.probe import trace_probe
    from pipeline.training.supervised import Plan, Probe, train

READ, READ_BESIDE = 20_000, 5_000
"""Documents that a tokenizer is made of: of the corpus, and of those of lessons and of what comes late each."""


class Lesson(BaseModel):
    """Some steps on a corpus of their own: a phase of the data's mix."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Steps = Field(
        description="optimizer steps of the lesson, which ends before them by as many rows as were too long"
    )
    corpus: Corpus = Field(description="what is read in it")


class Late(BaseModel):
    """The last steps, in which kinds of documents that matter have a greater share (Blakeney et al. 2024, arXiv
    2406.03476; the curriculum of DBRX, 2024). Left out is the search for which kinds these are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(gt=0, lt=1, description="share of the steps that come last")
    corpus: Corpus = Field(description="what is read in them, and in further rounds")


class Pretrain(Learning, Stage):
    """Train a new transformers model on the synthetic web.

    What is read changes by phase: `lessons` one after the other, `corpus`, and in the end `late`.

    The rate follows a cosine over `steps`. If the probe (the share of correct traces that the model would write itself,
    on training-side problems) is then below `probe_at_least` in some family, rounds of `more_steps` follow, `rounds` at
    most.

    The rates are low for Muon, and have to be: a model of the quickstart's size that is shown nothing but three pairs
    of a verb and a number, and asked for the number of a verb, learns it in 200 steps at 5e-3 and 1e-3, and not in 300
    at 2e-2 and 3e-3.
    """

    kind: ClassVar[str] = "pretrain"
    version: ClassVar[int] = 11
    makes: ClassVar[ArtifactType] = "model"
    distributed: ClassVar[bool] = True

    architecture: Architecture = Field(description="the new model: model_type, and fields of its transformers config")
    corpus: Corpus = Field(default=Corpus(), description="which documents the synthetic web is made of")
    tokenizer: ModelInput | None = Field(
        default=None, description="a model whose tokenizer is taken; one is made of the words of all that is read "
                                  "where it is left out"
    )
    length: int = Field(
        default=72, ge=8, le=MOST_TOKENS, json_schema_extra={"unit": "tokens"},
        description="longest document; longer ones are dropped"
    )
    steps: Steps = Field(description="optimizer steps")
    more_steps: Steps = Field(default=200, description="steps of a further round")
    rounds: int = Field(default=3, ge=0, le=1000, description="the most further rounds, where the probe is not reached")
    lessons: list[Lesson] = Field(
        default_factory=list, description="what comes first, before `corpus`; part of `steps`"
    )
    late: Late | None = Field(default=None, description="what comes last, after `corpus`; part of `steps`")
    batch_size: Batch = Field(default=32, description="rows of an optimizer step")
    prompt_weight: Weight = Field(default=0.1, description="weight of prompt tokens in the loss")
    balance: BalanceSection = Balancing()
    mtp: MtpSection = None
    fp8: Fp8Section = None
    compile: CompileSection = False
    probe_every: Steps = Field(default=100, description="steps between two looks at what the model would write")
    probe_at_least: Probability = Field(
        default=0.5, description="share of correct traces, in every family, that ends the further rounds"
    )

    @model_validator(mode="after")
    def _check_compile(self) -> "Pretrain":
        if self.compile:
            require_alone(fp8=self.fp8 is not None, gradient_checkpointing=self.gradient_checkpointing)
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> "Pretrain":
        require_rows((self.steps + self.rounds * self.more_steps) * self.batch_size,
                     "steps, rounds of more_steps and batch_size")
        lessons = sum(lesson.steps for lesson in self.lessons)
        if lessons > self.steps:
            raise ValueError(f"the lessons take {lessons} steps, and steps is {self.steps}, of which they are a part")
        if lessons + self.late_steps > self.steps:
            raise ValueError(f"the lessons take {lessons} and late {self.late_steps} steps, and steps is {self.steps}, "
                             "of which they are parts")
        late = [self.late.corpus] if self.late else []
        for corpus in [self.corpus, *(lesson.corpus for lesson in self.lessons), *late]:
            if not corpus.fits(self.length):
                raise ValueError(f"no text of a corpus is as short as {self.length} tokens; set length higher")
        for name in LIMITS:
            if isinstance(given := self.architecture.get(name), int) and given < self.length:
                raise ValueError(f"architecture.{name} ({given}) is below length ({self.length}); leave it out")
        return self

    @model_validator(mode="after")
    def _check_precision(self) -> "Pretrain":
        if self.dtype and self.dtype != self.architecture.get("dtype"):  # whose sizes were held against its own
            raise_faults("architecture", faults({**self.architecture, "dtype": self.dtype}))
        return self

    @model_validator(mode="after")
    def _check_balance(self) -> "Pretrain":
        if said := balance_fault(self.architecture, self.balance):
            raise ValueError(said)
        return self

    @property
    def late_steps(self) -> int:
        return round(self.late.share * self.steps) if self.late else 0

    def context_of_made(self, context: int | None) -> int | None:
        return limit_of(settled({"max_position_embeddings": self.length, **self.architecture}))

    def config_of_made(self, config: JsonObject) -> JsonObject:
        return settled({"max_position_embeddings": self.length, "tie_word_embeddings": True, **self.architecture})

    def work(self) -> Work:
        return Work(trained=[Trained(
            None, self.batch_size, self.steps, self.length, learning=self.learning(), mtp="with" if self.mtp else None,
            fp8=self.fp8 is not None, compiled=self.compile,
        )])

    def _tokenizer(self, ctx: Context) -> "Tokenizer":
        if self.tokenizer is not None:
            return pretrained.load_tokenizer(ctx.path(self.tokenizer))
        others = [*(lesson.corpus for lesson in self.lessons), *([self.late.corpus] if self.late else [])]
        reads = [(self.corpus, READ), *((corpus, READ_BESIDE) for corpus in others)]
        known = (one for corpus, count in reads
                 for one in islice(corpus.documents(random.Random("vocabulary")), count))
        own: Tokenizer = train_tokenizer((f"{d.prompt or ''}\n{d.text}" for d in known), self.length)
        return own

    def run(self, ctx: Context) -> Metrics:
        rng = random.Random(f"pretrain:{ctx.seed}")
        tokenizer = self._tokenizer(ctx)
        model = build({"max_position_embeddings": self.length, **self.architecture},
                      special_tokens.words(tokenizer), ctx.seed, special_tokens.ids(tokenizer))
        if self.dtype == "bfloat16":
            cast(model, torch.bfloat16)
        ctx.note(f"{pretrained.parameters(model):,} parameters, {len(tokenizer)} tokens")
        most = self.steps + self.rounds * self.more_steps
        schedule = dataclasses.replace(schedule_of(self.schedule, self.steps, warmup=30), more=self.more_steps)
        plan = Plan(most, self.batch_size, self, schedule, self.balance, self.mtp, self.fp8, self.compile)
        ask = trace_probe(model, tokenizer)
        probe = Probe(ask, self.probe_every, self.probe_at_least)
        first = (islice(lesson.corpus.documents(rng), lesson.steps * self.batch_size) for lesson in self.lessons)
        documents = chain(*first, self.corpus.documents(rng))
        before_late = (self.steps - self.late_steps) * self.batch_size if self.late else most * self.batch_size
        rows: Rows = Stream(tokenizer, documents, before_late, self.length, self.prompt_weight)
        if self.late:
            # Documents of a stream of their own, so that the rows do not depend on whether those before were made.
            last = self.late.corpus.documents(random.Random(f"pretrain:{ctx.seed}:late"))
            rest = most * self.batch_size - before_late
            rows = Joined([rows, Stream(tokenizer, last, rest, self.length, self.prompt_weight)])
        metrics = train(ctx, model, tokenizer, rows, plan, probe)
        skill = ask()
        if min(skill.values()) < self.probe_at_least:
            ctx.note(
                f"the base ends below its probe ({min(skill.values()):.2f} of {self.probe_at_least}): "
                "give it more steps before reinforcing it"
            )
        pretrained.save(model, tokenizer, ctx.out)
        late = {"late_steps": self.late_steps} if self.late else {}
        skills = {f"skill/{name}": value for name, value in skill.items()}
        return {**metrics, **late, "parameters": pretrained.parameters(model), **skills}

