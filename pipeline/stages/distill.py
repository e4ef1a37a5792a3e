"""`distill`: what a teacher knows into a small dense student, by its traces (DeepSeek-R1, section 2.4), by its
distributions over every token of them, or by what it says of the student's own answers."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.contract import dataset
from pipeline.contract.dataset import ALL, OF_ROWS
from pipeline.contract.fields import ArtifactType, DatasetInput, ModelInput
from pipeline.contract.numbers import Epochs
from pipeline.contract.room import Room, require_room
from pipeline.contract.stage import Asks, Context, Known, Metrics
from pipeline.contract.work import Drawn, Trained, Work
from pipeline.data.tokenized import Tokenized, Wanted, tokenized
from pipeline.distillation.sections import Match, Rollouts
from pipeline.stages.sft import Training
from rewards.lazy import lazy

with lazy:
    from eval.language_model import LanguageModel, Tokenizer
    from eval.problems import load_sets
    from eval.prompts import encode_prompts
    from pipeline.distillation import on_policy
    from pipeline.distillation.from_traces import Course
    from pipeline.distillation.teachers import require_one_shape, require_same_tokenizer
    from pipeline.distillation.verdicts import Best, Traces, best, require_verdicts
    from pipeline.models import lora, pretrained
    from pipeline.training.supervised import Lesson

Method = Literal["traces", "logits", "on_policy", "ensemble", "self", "cross_tokenizer"]

TAKES: dict[Method, tuple[str, ...]] = {
    "traces": ("traces",),
    "logits": ("teacher", "traces", "match"),
    "on_policy": ("teacher", "rollouts"),
    "ensemble": ("teachers", "traces", "match"),
    "self": ("teacher", "traces", "match"),
    "cross_tokenizer": ("teacher", "traces", "match"),
}
"""The fields of each method, of which it needs all but `match`."""


class Distill(Training):
    """Train a student on what a teacher knows, by a `method`:

    traces           the teacher's filtered traces: sequence-level distillation (Kim and Rush 2016). Teacher and student
                     need no common tokenizer, since the traces are text
    logits           its distributions over every token of the traces, too (Hinton et al. 2015)
    cross_tokenizer  the same of a teacher with another tokenizer, over spans of the traces that both cut alike (ULD,
                     Boizard et al. 2024; GOLD, Patiño et al. 2025)
    ensemble         the mean of several teachers' distributions (Hinton et al. 2015, section 3); with a dataset of
                     traces for each teacher, for each problem those of the one that is right most often
    self             born again (Furlanello et al. 2018, arXiv 1805.04770): the teacher is what was trained of the
                     student itself, or of one of its shape, and the traces are its own. Left out are further
                     generations, which are further stages, and their ensemble, which is `ensemble`
    on_policy        the teacher's distributions at every token that the student writes itself (GKD, Agarwal et al.
                     2023)
    """

    kind: ClassVar[str] = "distill"
    version: ClassVar[int] = 12
    makes: ClassVar[ArtifactType] = "model"

    student: ModelInput = Field(description="the model to train")
    method: Method = Field(default="traces", description="what of the teacher is learned")
    traces: DatasetInput | list[DatasetInput] | None = Field(
        default=None, description="what the teacher wrote: prompts with completions; of all methods but on_policy. In "
                                  "ensemble also a list with each teacher's own, of which for each problem those of "
                                  "the teacher that is right most often are learned"
    )
    teacher: ModelInput | None = Field(
        default=None, description="the teacher, of logits, cross_tokenizer, self and on_policy"
    )
    teachers: list[ModelInput] | None = Field(default=None, min_length=2, description="the teachers, of ensemble")
    match: Match = Field(
        default=Match(), description="how distributions over the traces are learned; of logits, cross_tokenizer, "
                                     "ensemble and self"
    )
    rollouts: Rollouts | None = Field(default=None, description="what the student writes itself; of on_policy")
    epochs: Epochs = Field(
        default=4.0,
        description="how often each trace is seen, to the nearest whole number of batches, and at least one"
    )

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
        if isinstance(self.traces, list):
            self._check_lists(self.traces)
        if self.method == "on_policy" and self.compile:
            raise ValueError("compile is for rows that are there before the training, and method on_policy draws its "
                             "own: leave it out")
        if self.method == "on_policy" and (rows := sorted(self.model_fields_set & {*OF_ROWS, "effort"})):
            raise ValueError(f"{rows[0]} is for traces, and method on_policy has none: leave it out; rollouts says how "
                             "much is trained on")
        return self

    def _check_lists(self, traces: Sequence[str]) -> None:
        if self.method != "ensemble":
            raise ValueError(f"a list of traces is of method ensemble, and method is {self.method}: give one dataset")
        if len(traces) != len(self.teachers or []):
            raise ValueError(f"{len(traces)} datasets of traces are not one for each of {len(self.teachers or [])} "
                             "teachers: list as many, or give one dataset for all")
        if self.bad_rows == "drop":
            raise ValueError("bad_rows: drop is for one dataset: leave it out, or the rows of a list of traces cannot "
                             "be told apart by their teachers")

    def made_of(self) -> str:
        return self.student

    def asks(self, seed: int) -> list[Asks]:
        if self.rollouts is None:
            return []
        return [Asks(reference, self.rollouts.problems_each, seed, "train") for reference in self.rollouts.problems]

    def check_inputs(self, known: Known) -> None:
        for reference in self._references if self.method != "cross_tokenizer" else []:
            mine, theirs = known.tokenizer(self.student), known.tokenizer(reference)
            if mine is not None and theirs is not None:
                require_same_tokenizer(mine, theirs, reference)
        if self.method == "self" and self.teacher:
            config, their_config = known.config(self.student), known.config(self.teacher)
            if config is not None and their_config is not None:
                require_one_shape(config, their_config, self.teacher)
        for reference in self._all_traces if isinstance(self.traces, list) else []:
            if path := known.path(reference):
                require_verdicts(Traces(reference, path, dataset.parse(reference).selection))

    def room(self) -> Room | None:
        if self.rollouts is None:
            return None
        models = [self.student, *self._references]
        return Room(models, self.prompt.prompting(), self.rollouts.max_completion_tokens, self.beyond_context)

    def work(self) -> Work:
        if self.traces is not None:
            return replace(self._on_traces(self.traces), readers=self._references)
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

    def _on_traces(self, traces: str | list[str]) -> Work:
        if isinstance(traces, str):
            return self.training(self.student, traces)
        return self.training(self.student, None, {one: 1 / len(traces) for one in traces})

    def run(self, ctx: Context) -> Metrics:
        if self.traces is not None:
            return self.train(ctx, self.student, ", ".join(self._all_traces))
        return self._on_policy(ctx)

    @property
    def _all_traces(self) -> list[str]:
        """The input references of all datasets of traces."""
        return [self.traces] if isinstance(self.traces, str) else self.traces or []

    def wanted(self, ctx: Context, reference: str) -> Wanted:
        if isinstance(self.traces, str):
            return super().wanted(ctx, reference)
        return replace(super().wanted(ctx, self._all_traces[0]), path=self._best(ctx).folder, selection=ALL)

    def _best(self, ctx: Context, note: Callable[[str], None] | None = None) -> "Best":
        """The traces of each problem's best teacher."""
        return best(ctx.cache, [
            Traces(ctx.label(one), ctx.path(one), dataset.parse(one).selection) for one in self._all_traces
        ], note)

    @property
    def _references(self) -> list[str]:
        """The input references of all teachers."""
        return self.teachers or ([self.teacher] if self.teacher else [])

    def lesson(
        self, ctx: Context, student: "LanguageModel", tokenizer: "Tokenizer", rows: Tokenized, order: Sequence[int],
        longest: int,
    ) -> "Lesson | None":
        """What the teachers make of the rows that are trained on, none of them in memory any more."""
        references = self._references
        if not references:
            return None
        if self.method == "self":
            mine = student.config.get_text_config().to_dict()
            require_one_shape(mine, pretrained.config_of(ctx.path(references[0])), ctx.label(references[0]))
        learned = {number: rows.row(number, 0.0, longest) for number in sorted(set(order))}
        course = Course(ctx, student, tokenizer, self.match, learned, order, self.beyond_context)
        if isinstance(self.traces, list):
            return course.by_best(references, self._best(ctx, ctx.note).teachers)
        if self.method != "cross_tokenizer":
            return course.by_mean(references)
        wanted = replace(super().wanted(ctx, self._all_traces[0]), efforts=None)
        their_rows = tokenized(ctx.cache, pretrained.load_tokenizer(ctx.path(references[0])), wanted, ctx.note)
        return course.across(references[0], wanted.how, their_rows, rows.numbers)

    def _on_policy(self, ctx: Context) -> Metrics:
        assert self.rollouts
        assert self.teacher
        model, tokenizer = pretrained.take(ctx, self.student, self.dtype)
        sets = load_sets(self.rollouts.problems, self.rollouts.problems_each, ctx.seed, base=self._folder)
        problems = [problem for group in zip(*sets, strict=True) for problem in group]
        random.Random(f"on_policy:{ctx.seed}").shuffle(problems)
        room = self.room()
        assert room
        prompts = encode_prompts(tokenizer, problems, room.prompting)
        require_room(prompts, room, pretrained.trained_context(model), self.student)
        require_room(prompts, room, pretrained.context_of(ctx.path(self.teacher)), self.teacher)
        lessons = on_policy.Lessons(problems, room.prompting, self.rollouts, self, self.balance)
        with lora.adapted(model, self.lora, ctx, self.student):
            metrics = on_policy.train(ctx, model, tokenizer, self.teacher, lessons)
        pretrained.save(model, tokenizer, ctx.out, ctx.path(self.student) if self.lora else None)
        return {**metrics, "parameters": pretrained.parameters(model)}
