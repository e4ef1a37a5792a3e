"""`sft`: supervised fine-tuning on prompts and completions: cold start, and the SFT after rejection sampling."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from eval.protocol import Prompting
from pipeline.contract import dataset
from pipeline.contract.dataset import ReadsRows
from pipeline.contract.effort import EffortBudgets
from pipeline.contract.errors import StageError
from pipeline.contract.fields import ArtifactType, DatasetInput, ModelInput
from pipeline.contract.numbers import MOST_ROWS, MOST_TOKENS, Batch, Epochs
from pipeline.contract.prompt import Prompt
from pipeline.contract.room import require_rows_fit
from pipeline.contract.stage import Context, Metrics, Stage
from pipeline.contract.work import Trained, Work
from pipeline.data import mix as mixing
from pipeline.data.mix import Mixed, MixPhase
from pipeline.data.order import Ordered, epochs, fitting, left_out_of
from pipeline.data.rows import Rows
from pipeline.data.tokenized import Tokenized, Wanted, tokenized
from pipeline.models.lora import Lora
from pipeline.models.mtp.section import Mtp, MtpSection
from pipeline.moe.balancing import BalanceSection, Balancing
from pipeline.training.fp8.section import Fp8, Fp8Section
from pipeline.training.layers.section import CompileSection, require_alone
from pipeline.training.learning import Learning
from pipeline.training.optimizer.schedule import schedule_of
from rewards.lazy import lazy

with lazy:
    from eval.language_model import LanguageModel, Tokenizer
    from pipeline.models import lora, pretrained
    from pipeline.training.supervised import Lesson, Plan, train


class Part(NamedTuple):
    """A dataset: its rows, the numbers of those that are trained on, and how many are not, by reason."""

    rows: Tokenized
    numbers: list[int]
    left_out: dict[str, int]

    def figures(self) -> dict[str, int]:
        """What is told of it: how many rows were left out, and how many are asked with which effort."""
        return {**self.left_out, **{f"rows/{effort}": count for effort, count in self.rows.efforts.items()}}


class Training(ReadsRows, Learning, Stage):
    """What `sft` and `distill` share: epochs over a dataset, with the loss on completions alone."""

    version: ClassVar[int] = 11
    distributed: ClassVar[bool] = True

    epochs: Epochs = Field(
        default=2.0, description="how often each row is seen, to the nearest whole number of batches, and at least one"
    )
    batch_size: Batch = Field(default=32, description="rows of an optimizer step")
    prompt: Prompt = Field(default=Prompt(), description="how prompts of the rows are put")
    effort: EffortBudgets | None = Field(
        default=None, description="ask each row with the least effort whose tokens hold its thinking, and with high "
                                  "effort what is longer"
    )
    limit: int | None = Field(default=None, ge=1, le=MOST_ROWS, description="use the first so many rows only")
    lora: Lora | None = Field(default=None, description="train adapters alone, and merge them at the end")
    balance: BalanceSection = Balancing()
    compile: CompileSection = False
    max_length: int | None = Field(
        default=None, ge=8, le=MOST_TOKENS, json_schema_extra={"unit": "tokens"},
        description="longest row, the model's context where it is left out; `too_long` says what becomes of longer ones"
    )
    beyond_context: bool = Field(default=False, description="let max_length be more than the model's context")

    @model_validator(mode="after")
    def _check_adapters(self) -> Self:
        if self.lora:
            self.require_fits_adapters()
        return self

    @model_validator(mode="after")
    def _check_compile(self) -> Self:
        if self.compile:
            require_alone(fp8=self.in_eight_bits() is not None, gradient_checkpointing=self.gradient_checkpointing)
        return self

    @model_validator(mode="after")
    def _check_effort(self) -> Self:
        if self.effort:
            self.prompt.require_no_effort("effort")
        return self

    def longest_row(self) -> int | None:
        return None if self.beyond_context else self.max_length

    def training(
        self, model_reference: str, data_reference: str | None, shares: Mapping[str, float] | None = None
    ) -> Work:
        """The work of `train`; `shares` are those of several datasets."""
        return Work(trained=[Trained(
            model_reference, self.batch_size, length=self.max_length, data=data_reference, epochs=self.epochs,
            limit=self.limit, prompting=self.prompt.prompting(), learning=self.learning(),
            adapters=self.lora.model_dump() if self.lora else None, shares=shares or {},
            mtp="with" if self.predicts_ahead() else None, fp8=self.in_eight_bits() is not None,
            compiled=self.compile,
        )])

    def lesson(
        self, ctx: Context, model: "LanguageModel", tokenizer: "Tokenizer", rows: Tokenized, order: Sequence[int],
        longest: int,
    ) -> "Lesson | None":
        """What is learned of the tokens of these rows besides that they stand there; nothing here."""
        return None

    def predicts_ahead(self) -> Mtp | None:
        """How an MTP module is trained beside the model; none is here."""
        return None

    def in_eight_bits(self) -> Fp8 | None:
        """How products are computed in eight bits; in full precision here."""
        return None

    def train(
        self, ctx: Context, model_reference: str, data: str | Mapping[str, str], mix: Sequence[MixPhase] = ()
    ) -> Metrics:
        """On one dataset, or on several by their names, in the phases of `mix`."""
        model, tokenizer = pretrained.take(ctx, model_reference, self.dtype)
        context = pretrained.trained_context(model)
        require_rows_fit(self.longest_row(), context, f"{ctx.name}: {model_reference}")
        longest = self.max_length or context or MOST_TOKENS
        if isinstance(data, str):
            part = self._part(ctx, tokenizer, data, longest)
            steps = self._steps(len(part.numbers))
            order = epochs(part.numbers, steps * self.batch_size, random.Random(f"sft:{ctx.seed}"))
            rows: Rows = Ordered(part.rows, order, longest)
            lesson = self.lesson(ctx, model, tokenizer, part.rows, order, longest)
            figures = {"rows": len(part.numbers), **part.figures()}
        else:
            lesson = None
            parts = {name: self._part(ctx, tokenizer, reference, longest) for name, reference in data.items()}
            steps = self._steps(sum(len(part.numbers) for part in parts.values()))
            rows, figures = self._mixed(ctx, parts, list(mixing.drawn(mix, steps, self.batch_size)), longest)
        schedule = schedule_of(self.schedule, steps, warmup=min(10, steps // 5))
        plan = Plan(steps, self.batch_size, self, schedule, self.balance, self.predicts_ahead(), self.in_eight_bits(),
                    self.compile)
        with lora.adapted(model, self.lora, ctx, model_reference):
            metrics = train(ctx, model, tokenizer, rows, plan, lesson=lesson)
        pretrained.save(model, tokenizer, ctx.out, ctx.path(model_reference) if self.lora else None)
        return {**metrics, "parameters": pretrained.parameters(model), **figures}

    def _steps(self, rows: int) -> int:
        return max(1, round(rows * self.epochs / self.batch_size))

    def puts_rows(self) -> Prompting | None:
        return self.prompt.prompting()

    def wanted(self, ctx: Context, reference: str) -> Wanted:
        """Which rows of a dataset, and how they are put."""
        return Wanted(
            ctx.path(reference), dataset.parse(reference).selection, self.prompt.prompting(), self.limit,
            dataset.drops_bad_rows(self), self.effort
        )

    def _part(self, ctx: Context, tokenizer: "Tokenizer", reference: str, longest: int) -> Part:
        rows = tokenized(ctx.cache, tokenizer, self.wanted(ctx, reference), ctx.note)
        chosen = fitting(rows, longest, cut=self.too_long == "cut")
        left_out = left_out_of(rows, chosen, ctx.note)
        if not chosen.numbers:
            raise StageError(f"no row of {reference} is at most {longest} tokens long")
        return Part(rows, chosen.numbers, left_out)

    def _mixed(
        self, ctx: Context, parts: Mapping[str, Part], phases: Sequence[tuple[int, Mapping[str, int]]], longest: int
    ) -> tuple[Rows, dict[str, int]]:
        """The rows of all steps, of which `phases` tell the last step and how many are of each dataset; and figures of
        what was drawn."""
        told = "; ".join(f"to step {end} " + ", ".join(f"{name} {count}" for name, count in counts.items())
                         for end, counts in phases)
        ctx.note(f"rows of the mix: {told}")
        datasets: dict[str, Rows] = {}
        figures = Counter({"rows": sum(len(part.numbers) for part in parts.values())})
        for name, part in parts.items():
            count = sum(counts.get(name, 0) for _, counts in phases)
            numbers = epochs(part.numbers, count, random.Random(f"sft:{ctx.seed}:{name}"))
            datasets[name] = Ordered(part.rows, numbers, longest)
            figures[f"drawn/{name}"] = count
            figures[f"drawn_tokens/{name}"] = sum(min(part.rows.lengths[number], longest) for number in numbers)
            figures.update(part.figures())
        order = mixing.order_of([counts for _, counts in phases], random.Random(f"sft:{ctx.seed}:mix"))
        return Mixed(datasets, order), dict(figures)


class Sft(Training):
    """Fine-tune a model on a dataset of prompts and completions, or on several whose shares change by phase (`mix`).

    With a mix, `epochs` says how many rows are read in all: so many times those of all datasets together. A dataset
    that has more of them than it has rows is gone through again, in another order.
    """

    kind: ClassVar[str] = "sft"
    makes: ClassVar[ArtifactType] = "model"

    model: ModelInput = Field(description="the model to train")
    data: DatasetInput | dict[str, DatasetInput] = Field(
        description="rows to learn from: prompts with completions, messages, or texts; several datasets by names of "
                    "your own, with a mix"
    )
    mix: list[MixPhase] = Field(
        default_factory=list, description="what is read of several datasets, phase by phase: `{until: 0.8, weights: "
                                          "{general: 0.7, math: 0.3}}`"
    )

    mtp: MtpSection = None
    fp8: Fp8Section = None

    @model_validator(mode="after")
    def _check_mtp(self) -> "Sft":
        if self.mtp and self.lora:
            raise ValueError("mtp trains a module beside the whole model: leave it or lora out")
        return self

    @model_validator(mode="after")
    def _check_fp8(self) -> "Sft":
        if self.fp8 and self.lora:
            raise ValueError("fp8 is for training whole matrices, and adapters are small ones beside them: leave it or "
                             "lora out")
        return self

    def predicts_ahead(self) -> Mtp | None:
        return self.mtp

    def in_eight_bits(self) -> Fp8 | None:
        return self.fp8

    @model_validator(mode="after")
    def _check_mix(self) -> "Sft":
        if isinstance(self.data, str) and self.mix:
            raise ValueError("mix is for several datasets: give data as `{general: .., math: ..}`")
        if not isinstance(self.data, str):
            if not self.data or not self.mix:
                raise ValueError("several datasets need a mix, such as `[{until: 1.0, weights: {general: 0.7, math: "
                                 "0.3}}]`")
            if said := mixing.fault(self.mix, list(self.data)):
                raise ValueError(said)
        return self

    def made_of(self) -> str:
        return self.model

    def work(self) -> Work:
        if isinstance(self.data, str):
            return self.training(self.model, self.data)
        of_references: dict[str, float] = defaultdict(float)
        for name, share in mixing.shares(self.mix).items():
            of_references[self.data[name]] += share
        return self.training(self.model, None, of_references)

    def run(self, ctx: Context) -> Metrics:
        return self.train(ctx, self.model, self.data, self.mix)
