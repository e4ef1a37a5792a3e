"""`sft`: supervised fine-tuning on prompts and completions: cold start, and the SFT after rejection sampling."""

import random
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from pipeline.contract import dataset
from pipeline.contract.dataset import ReadsRows
from pipeline.contract.errors import StageError
from pipeline.contract.fields import ArtifactType, DatasetInput, ModelInput
from pipeline.contract.numbers import MOST_ROWS, MOST_TOKENS, Batch, Epochs
from pipeline.contract.prompt import Prompt
from pipeline.contract.room import require_rows_fit
from pipeline.contract.stage import Context, Metrics, Stage
from pipeline.contract.work import Trained, Work
from pipeline.data.order import Ordered, epochs, fitting, left_out_of
from pipeline.data.tokenized import Tokenized, Wanted, tokenized
from pipeline.models.lora import Lora
from pipeline.moe.balancing import BalanceSection, Balancing
from pipeline.training.learning import Learning
from pipeline.training.optimizer.schedule import schedule_of
from rewards.lazy import lazy

with lazy:
    from eval.language_model import LanguageModel, Tokenizer
    from pipeline.models import lora, pretrained
    from pipeline.training.supervised import Lesson, Plan, train


class Training(ReadsRows, Learning, Stage):
    """What `sft` and `distill` share: epochs over a dataset, with the loss on completions alone."""

    version: ClassVar[int] = 4
    distributed: ClassVar[bool] = True

    epochs: Epochs = Field(default=2.0, description="how often each row is seen")
    batch_size: Batch = Field(default=32, description="rows of an optimizer step")
    prompt: Prompt = Field(default=Prompt(), description="how prompts of the rows are put")
    limit: int | None = Field(default=None, ge=1, le=MOST_ROWS, description="use the first so many rows only")
    lora: Lora | None = Field(default=None, description="train adapters alone, and merge them at the end")
    balance: BalanceSection = Balancing()
    max_length: int | None = Field(
        default=None, ge=8, le=MOST_TOKENS, json_schema_extra={"unit": "tokens"},
        description="longest row, the model's context where it is left out; `too_long` says what becomes of longer ones"
    )
    beyond_context: bool = Field(default=False, description="let max_length be more than the model's context")

    def longest_row(self) -> int | None:
        return None if self.beyond_context else self.max_length

    def training(self, model_reference: str, data_reference: str) -> Work:
        """The work of `train`."""
        return Work(trained=[Trained(
            model_reference, self.batch_size, length=self.max_length, data=data_reference, epochs=self.epochs,
            limit=self.limit, prompting=self.prompt.prompting(), learning=self.learning(),
            adapters=self.lora.model_dump() if self.lora else None,
        )])

    def lesson(
        self, ctx: Context, model: "LanguageModel", tokenizer: "Tokenizer", rows: Tokenized, order: Sequence[int],
        longest: int,
    ) -> "Lesson | None":
        """What is learned of the tokens of these rows besides that they stand there; nothing here."""
        return None

    def train(self, ctx: Context, model_reference: str, data_reference: str) -> Metrics:
        model, tokenizer = pretrained.take(ctx, model_reference, self.dtype)
        wanted = Wanted(
            ctx.path(data_reference), dataset.parse(data_reference).selection, self.prompt.prompting(), self.limit,
            dataset.drops_bad_rows(self)
        )
        context = pretrained.trained_context(model)
        require_rows_fit(self.longest_row(), context, f"{ctx.name}: {model_reference}")
        longest = self.max_length or context or MOST_TOKENS
        rows = tokenized(ctx.cache, tokenizer, wanted, ctx.note)
        chosen = fitting(rows, longest, cut=self.too_long == "cut")
        left_out = left_out_of(rows, chosen, ctx.note)
        if not chosen.numbers:
            raise StageError(f"no row of {data_reference} is at most {longest} tokens long")
        steps = max(1, round(len(chosen.numbers) * self.epochs / self.batch_size))
        order = epochs(chosen.numbers, steps * self.batch_size, random.Random(f"sft:{ctx.seed}"))
        schedule = schedule_of(self.schedule, steps, warmup=min(10, steps // 5))
        plan = Plan(steps, self.batch_size, self, schedule, self.balance)
        lesson = self.lesson(ctx, model, tokenizer, rows, order, longest)
        with lora.adapted(model, self.lora, ctx, model_reference):
            metrics = train(ctx, model, tokenizer, Ordered(rows, order, longest), plan, lesson=lesson)
        pretrained.save(model, tokenizer, ctx.out, ctx.path(model_reference) if self.lora else None)
        return {**metrics, "rows": len(chosen.numbers), "parameters": pretrained.parameters(model), **left_out}


class Sft(Training):
    """Fine-tune a model on a dataset of prompts and completions."""

    kind: ClassVar[str] = "sft"
    makes: ClassVar[ArtifactType] = "model"

    model: ModelInput = Field(description="the model to train")
    data: DatasetInput = Field(description="rows to learn from: prompts with completions, messages, or texts")

    def made_of(self) -> str:
        return self.model

    def work(self) -> Work:
        return self.training(self.model, self.data)

    def run(self, ctx: Context) -> Metrics:
        return self.train(ctx, self.model, self.data)
