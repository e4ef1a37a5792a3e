"""`evaluate`: models asked held-out problems, graded and counted."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from eval.engine import engine_for
from eval.engine.types import Sampling
from eval.language_model import Tokenizer
from eval.pieces import Pieces
from eval.problems import load, set_names
from eval.prompts import encode_prompts, settled
from eval.protocol import Protocol
from eval.rollouts import Draws, keep, recall, rollouts_file, write_rows
from eval.shots import require_shots, shots_of
from pipeline.contract.fields import ArtifactType, ModelInput, ReportInput
from pipeline.contract.numbers import (
    Batch,
    Dtype,
    MinP,
    Problems,
    Temperature,
    Tokens,
    TopK,
    TopP,
    require_rows,
)
from pipeline.contract.processes import is_first
from pipeline.contract.prompt import MeasuringPrompt
from pipeline.contract.room import Room, require_room
from pipeline.contract.stage import Asks, Context, Metrics, Stage
from pipeline.disk.durable import JsonObject
from pipeline.stages.grpo import ProblemSets
from rewards.lazy import lazy
from rewards.types import Problem

with lazy:
    from eval.report import mean_of_sets, reduce
    from pipeline.models import pretrained


if TYPE_CHECKING:
    from eval.protocol import Protocol


@dataclass(frozen=True)
class _Set:
    """A problem set that a model was asked, and how."""

    problems: list[Problem]
    draws: "Draws"
    protocol: JsonObject


@dataclass
class _Asked:
    """What one model was asked, by the names of the sets."""

    parameters: int
    sets: dict[str, _Set] = field(default_factory=dict)


class Evaluate(Stage):
    """Ask every model every problem set, `rollouts` times a problem, and report shares with their intervals.

    `reports` takes in what earlier evaluate stages found, so that models can be measured while others still train and
    one report holds them all. The rollouts are kept beside it, one file a model and set.
    """

    kind: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 5
    makes: ClassVar[ArtifactType] = "report"
    distributed: ClassVar[bool] = True

    models: list[ModelInput] = Field(default_factory=list)
    reports: list[ReportInput] = Field(default_factory=list)
    problems: ProblemSets = Field(min_length=1, description="name:split")
    problems_each: Problems | None = Field(default=200, description="problems of each set; null is all of them")
    rollouts: Batch = 16
    temperature: Temperature = 1.0
    max_completion_tokens: Tokens = 64
    top_p: TopP = 1.0
    top_k: TopK = 0
    min_p: MinP = 0.0
    beyond_context: bool = Field(
        default=False, description="ask also where prompt and answer do not fit in the model's context"
    )
    dtype: Dtype | None = Field(default=None, description="what the weights are in; as they were saved")
    prompt: MeasuringPrompt = MeasuringPrompt()
    thinking_budget: Tokens | None = Field(
        default=None, description="tokens after which thinking is closed by force"
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> "Evaluate":
        if not self.models and not self.reports:
            raise ValueError("there is nothing to measure: give models, or reports of earlier stages")
        require_rows((self.problems_each or 1) * len(self.problems) * len(self.models) * self.rollouts,
                     "models, problems, problems_each and rollouts")
        return self

    @model_validator(mode="after")
    def _check_shots(self) -> "Evaluate":
        for reference in self.problems if self.prompt.shots else []:
            require_shots(reference, self.prompt.shots, base=self._folder)
        return self

    def asks(self, seed: int) -> list[Asks]:
        return [Asks(reference, self.problems_each, 0, "test") for reference in self.problems if self.models]

    def room(self) -> Room:
        return Room(self.models, self.prompt.prompting(), self.max_completion_tokens, self.beyond_context)

    def run(self, ctx: Context) -> Metrics:
        pieces = ctx.checkpoints.pieces()
        asked = [self._ask(ctx, reference, place, pieces) for place, reference in enumerate(self.models)]
        if not is_first():
            return {}
        found: JsonObject = {}
        for reference in self.reports:
            found.update(json.loads((ctx.path(reference) / "report.json").read_text())["models"])
        tokens = 0
        for reference, model in zip(self.models, asked, strict=True):
            label = ctx.label(reference)
            report = self._report(ctx, label, model, pieces)
            tokens += report.pop("tokens")
            earlier = found.get(label, {})
            for key in ("problems", "protocol"):
                report[key] = {**earlier.get(key, {}), **report[key]}
            found[label] = report
        for report in found.values():
            if len(report["problems"]) > 1:
                report["mean"] = mean_of_sets(report["problems"])
        (ctx.out / "report.json").write_text(json.dumps({"models": found}, indent=2) + "\n")
        return {"models": len(found), "tokens": tokens}

    def _ask(self, ctx: Context, reference: str, place: int, pieces: Pieces) -> "_Asked":
        """Ask a model every problem set; the rollouts are in `pieces` then, those of other processes in time."""
        model, tokenizer = pretrained.take(ctx, reference, self.dtype)
        label = ctx.label(reference)
        engine = engine_for(model, tokenizer)
        asked = _Asked(pretrained.parameters(model))
        total = len(self.models) * len(self.problems)
        for number, (problem_set, name) in enumerate(set_names(self.problems).items()):
            begun = place * len(self.problems) + number

            def progress(done: int, of: int, begun: int = begun, problem_set: str = problem_set) -> None:
                ctx.progress(begun + done / of, total, model=label, problems=problem_set)

            problems = load(problem_set, self.problems_each, seed=0, base=self._folder)
            protocol = self._protocol(problem_set, tokenizer, ctx.seed)
            prompts = encode_prompts(tokenizer, problems, protocol.prompting)
            require_room(prompts, self.room(), pretrained.trained_context(model), f"{label} on {name}")
            seed_parts, room = (ctx.seed, "evaluate", label), pretrained.context_length(model)
            draws = Draws(self.rollouts, protocol.sampling, seed_parts, protocol.prompting, room)
            keep(engine, tokenizer, problems, draws, pieces, f"{label}-{name}", progress)
            asked.sets[name] = _Set(problems, draws, protocol.describe(problems, prompts))
        return asked

    def _report(self, ctx: Context, label: str, asked: "_Asked", pieces: Pieces) -> JsonObject:
        """What report.json says of a model, and the `tokens` that it wrote; its rollouts are written beside it."""
        report: JsonObject = {
            "parameters": asked.parameters, "problems": {}, "protocol": {}, "tokens": 0,
            **({"dtype": self.dtype} if self.dtype else {}),
        }
        for name, one in asked.sets.items():
            rollouts = recall(one.problems, one.draws, pieces, f"{label}-{name}")
            rows = [rollout.row() for rollout in rollouts]
            write_rows(ctx.out / rollouts_file(label, name), rows)
            report["problems"][name] = reduce(rows)
            report["protocol"][name] = one.protocol
            report["tokens"] += sum(rollout.completion.tokens for rollout in rollouts)
            ctx.log({"model": label, "problems": name, "pass@1": report["problems"][name]["pass@1"]})
        return report

    def _protocol(self, problem_set: str, tokenizer: Tokenizer, seed: int) -> "Protocol":
        shots = shots_of(problem_set, self.prompt.shots, base=self._folder)
        prompting = settled(tokenizer, self.prompt.prompting(shots, self.thinking_budget))
        sampling = Sampling(self.max_completion_tokens, self.temperature, self.top_p, self.top_k, self.min_p)
        return Protocol(prompting, sampling, self.rollouts, seed)
