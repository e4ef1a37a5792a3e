"""`sft`: supervised fine-tuning on prompts and completions: cold start, and the SFT after rejection sampling."""

import random
from typing import ClassVar

from pydantic import Field

from pipeline.contract.errors import StageError
from pipeline.contract.fields import ArtifactType, DatasetInput, ModelInput
from pipeline.contract.numbers import MOST_ROWS, MOST_TOKENS, Batch, Epochs
from pipeline.contract.prompt import Prompt
from pipeline.contract.stage import Context, Metrics, Stage
from pipeline.data.rows import Document, Row, read_rows, rows
from pipeline.models.lora import Lora
from pipeline.moe.balancing import Balancing
from pipeline.training.learning import Learning
from pipeline.training.schedule import schedule_of
from rewards.lazy import lazy

with lazy:
    from pipeline.models import lora, pretrained
    from pipeline.training.supervised import Plan, train



class Training(Learning, Stage):
    """What `sft` and `distill` share: epochs over a dataset, with the loss on completions alone."""

    version: ClassVar[int] = 4
    distributed: ClassVar[bool] = True

    epochs: Epochs = 2.0
    batch_size: Batch = 32
    prompt: Prompt = Prompt()
    limit: int | None = Field(default=None, ge=1, le=MOST_ROWS, description="use the first so many rows only")
    lora: Lora | None = Field(default=None, description="train adapters alone, and merge them at the end")
    balance: Balancing = Balancing()
    max_length: int = Field(default=4096, ge=8, le=MOST_TOKENS, description="longer rows are left out, and counted")

    def train(self, ctx: Context, model_reference: str, data_reference: str) -> Metrics:
        model, tokenizer = pretrained.take(ctx, model_reference, self.dtype)
        records = read_rows(ctx.path(data_reference))[: self.limit]
        encoded = rows(tokenizer, [Document(record["prompt"], record["completion"]) for record in records],
                       how=self.prompt.prompting())
        fitting = [row for row in encoded if len(row["input_ids"]) <= self.max_length]
        if len(fitting) < len(encoded):
            longer = len(encoded) - len(fitting)
            ctx.note(f"{longer} of {len(encoded)} rows are longer than {self.max_length} tokens, left out")
        if not fitting:
            raise StageError(f"no row of {data_reference} is at most {self.max_length} tokens long")
        steps = max(1, round(len(fitting) * self.epochs / self.batch_size))
        rng = random.Random(f"sft:{ctx.seed}")
        order: list[Row] = []
        while len(order) < steps * self.batch_size:
            order += rng.sample(fitting, len(fitting))
        schedule = schedule_of(self.schedule, steps, warmup=min(10, steps // 5))
        plan = Plan(steps, self.batch_size, self, schedule, self.balance)
        with lora.adapted(model, self.lora, ctx, model_reference):
            metrics = train(ctx, model, tokenizer, order[: steps * self.batch_size], plan)
        pretrained.save(model, tokenizer, ctx.out, ctx.path(model_reference) if self.lora else None)
        return {**metrics, "rows": len(fitting), "parameters": pretrained.parameters(model)}


class Sft(Training):
    """Fine-tune a model on a dataset of prompts and completions."""

    kind: ClassVar[str] = "sft"
    makes: ClassVar[ArtifactType] = "model"

    model: ModelInput
    data: DatasetInput

    def run(self, ctx: Context) -> Metrics:
        return self.train(ctx, self.model, self.data)
