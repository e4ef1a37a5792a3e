"""`distill`: what a teacher knows into a small dense student, by its traces (DeepSeek-R1, section 2.4), by its
distributions over every token of them, or by what it says of the student's own answers."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.contract.dataset import OF_ROWS
from pipeline.contract.fields import ArtifactType, DatasetInput, ModelInput
from pipeline.contract.numbers import Epochs
from pipeline.contract.room import Room, require_room
from pipeline.contract.stage import Asks, Context, Metrics
from pipeline.contract.work import Drawn, Trained, Work
from pipeline.distillation.sections import Match, Rollouts
from pipeline.stages.sft import Training
from rewards.lazy import lazy

with lazy:
    from eval.language_model import LanguageModel, Tokenizer
    from eval.problems import load
    from eval.prompts import encode_prompts
    from pipeline.data.tokenized import Tokenized
    from pipeline.distillation import on_policy
    from pipeline.distillation.distributions import Learned, distributions
    from pipeline.distillation.lesson import Taught
    from pipeline.distillation.teachers import Teachers, require_one_shape, words_of
    from pipeline.models import lora, pretrained

Method = Literal["traces", "logits", "on_policy", "ensemble", "self"]

TAKES: dict[Method, tuple[str, ...]] = {
    "traces": ("traces",),
    "logits": ("teacher", "traces", "match"),
    "on_policy": ("teacher", "rollouts"),
    "ensemble": ("teachers", "traces", "match"),
    "self": ("teacher", "traces", "match"),
}
"""The fields of each method, of which it needs all but `match`."""


class Distill(Training):
    """Train a student on what a teacher knows, by a `method`:

    traces     the teacher's filtered traces: sequence-level distillation (Kim and Rush 2016). Teacher and student need
               no common tokenizer, since the traces are text
    logits     its distributions over every token of the traces, too (Hinton et al. 2015)
    ensemble   the mean of several teachers' distributions (Hinton et al. 2015, section 3). Left out is to choose, for
               each problem, the traces of the teacher that is right most often: a `sample` stage for each teacher and a
               dataset of them say so as well
    self       born again (Furlanello et al. 2018, arXiv 1805.04770): the teacher is what was trained of the student
               itself, or of one of its shape, and the traces are its own. Left out are further generations, which are
               further stages, and their ensemble, which is `ensemble`
    on_policy  the teacher's distributions at every token that the student writes itself (GKD, Agarwal et al. 2023)
    """

    kind: ClassVar[str] = "distill"
    makes: ClassVar[ArtifactType] = "model"

    student: ModelInput = Field(description="the model to train")
    method: Method = Field(default="traces", description="what of the teacher is learned")
    traces: DatasetInput | None = Field(
        default=None, description="what the teacher wrote: prompts with completions; of all methods but on_policy"
    )
    teacher: ModelInput | None = Field(default=None, description="the teacher, of logits, self and on_policy")
    teachers: list[ModelInput] | None = Field(default=None, min_length=2, description="the teachers, of ensemble")
    match: Match = Field(
        default=Match(), description="how distributions over the traces are learned; of logits, ensemble and self"
    )
    rollouts: Rollouts | None = Field(default=None, description="what the student writes itself; of on_policy")
    epochs: Epochs = Field(default=4.0, description="how often each trace is seen")

    @model_validator(mode="after")
    def _check_method(self) -> "Distill":
        takes = TAKES[self.method]
        for name in sorted({name for names in TAKES.values() for name in names}):
            if name not in takes and name in self.model_fields_set and getattr(self, name) is not None:
                of = " or ".join(method for method, names in TAKES.items() if name in names)
                raise ValueError(f"{name} is of method {of}, and method is {self.method}: leave it out, or change the "
                                 "method")
            if name in takes and getattr(self, name) is None:
                raise ValueError(f"method {self.method} needs {name}")
        if self.method == "on_policy" and (rows := sorted(self.model_fields_set & set(OF_ROWS))):
            raise ValueError(f"{rows[0]} is for traces, and method on_policy has none: leave it out; rollouts says how "
                             "much is trained on")
        return self

    def made_of(self) -> str:
        return self.student

    def asks(self, seed: int) -> list[Asks]:
        if self.rollouts is None:
            return []
        return [Asks(reference, self.rollouts.problems_each, seed, "train") for reference in self.rollouts.problems]

    def room(self) -> Room | None:
        if self.rollouts is None:
            return None
        return Room([self.student], self.prompt.prompting(), self.rollouts.max_completion_tokens, self.beyond_context)

    def work(self) -> Work:
        if self.traces is not None:
            work = self.training(self.student, self.traces)
            return replace(work, loaded=[*self._references, self.student]) if self._references else work
        assert self.rollouts
        wanted = self.rollouts
        drawn = Drawn(
            self.student, wanted.group_size, wanted.max_completion_tokens, wanted.prompts_per_step, wanted.steps,
            trained=True
        )
        trained = Trained(
            self.student, wanted.prompts_per_step * wanted.group_size // wanted.updates_per_step,
            wanted.steps * wanted.updates_per_step, learning=self.learning(),
            adapters=self.lora.model_dump() if self.lora else None, teacher=self.teacher,
        )
        return Work([trained], [drawn])

    def run(self, ctx: Context) -> Metrics:
        if self.traces is not None:
            return self.train(ctx, self.student, self.traces)
        return self._on_policy(ctx)

    @property
    def _references(self) -> list[str]:
        """The input references of all teachers."""
        return self.teachers or ([self.teacher] if self.teacher else [])

    def lesson(
        self, ctx: Context, student: "LanguageModel", tokenizer: "Tokenizer", rows: "Tokenized", order: Sequence[int],
        longest: int,
    ) -> "Taught | None":
        """What the teachers make of the rows that are trained on, none of them in memory any more."""
        if not self._references:
            return None
        match, references = self.match, self._references
        if self.method == "self":
            require_one_shape(ctx, references[0], student)
        words = words_of(ctx, references, student, tokenizer, match.top_k)
        learned = Learned({number: rows.row(number, 0.0, longest) for number in sorted(set(order))})
        made_by = {"teachers": [pretrained.sha256(ctx.path(one)) for one in references],
                   "temperature": match.temperature}
        told = distributions(
            ctx.cache, learned, words, made_by,
            lambda: Teachers.of(ctx, references, tokenizer, words, match.temperature), ctx.note
        )
        return Taught(told, order, words, match.temperature, match.mix, tokenizer.pad_token_id)

    def _on_policy(self, ctx: Context) -> Metrics:
        assert self.rollouts
        assert self.teacher
        model, tokenizer = pretrained.take(ctx, self.student, self.dtype)
        sets = [load(one.reference, one.n, ctx.seed, base=self._folder) for one in self.asks(ctx.seed)]
        problems = [problem for group in zip(*sets, strict=True) for problem in group]
        random.Random(f"on_policy:{ctx.seed}").shuffle(problems)
        room = self.room()
        assert room
        prompts = encode_prompts(tokenizer, problems, room.prompting)
        require_room(prompts, room, pretrained.trained_context(model), self.student)
        lessons = on_policy.Lessons(problems, room.prompting, self.rollouts, self, self.balance)
        with lora.adapted(model, self.lora, ctx, self.student):
            metrics = on_policy.train(ctx, model, tokenizer, self.teacher, lessons)
        pretrained.save(model, tokenizer, ctx.out, ctx.path(self.student) if self.lora else None)
        return {**metrics, "parameters": pretrained.parameters(model)}
