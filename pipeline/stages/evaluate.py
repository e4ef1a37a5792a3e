"""`evaluate`: models asked held-out problems, graded and counted."""

import json
from typing import Any, ClassVar

from pydantic import Field

from pipeline.stage import ArtifactType, Context, Metrics, ModelInput, ReportInput, Stage
from pipeline.stages.grpo import ProblemSets


class Evaluate(Stage):
    """Ask every model every problem set, `rollouts` times a problem, and report shares with their intervals.

    `reports` takes in what earlier evaluate stages found, so that models can be measured while others still train and
    one report holds them all. The rollouts are kept beside it, one file a model and set.
    """

    kind: ClassVar[str] = "evaluate"
    makes: ClassVar[ArtifactType] = "report"

    models: list[ModelInput] = Field(default_factory=list)
    reports: list[ReportInput] = Field(default_factory=list)
    problems: ProblemSets = Field(min_length=1, description="name:split")
    problems_each: int | None = Field(default=200, ge=1, description="problems of each set; null is all of them")
    rollouts: int = Field(default=16, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    max_completion_tokens: int = Field(default=64, ge=1)
    open_thinking: bool = False

    def run(self, ctx: Context) -> Metrics:
        from eval.report import mean_of_sets

        found: dict[str, Any] = {}
        for reference in self.reports:
            found.update(json.loads((ctx.path(reference) / "report.json").read_text())["models"])
        tokens = 0
        for place, reference in enumerate(self.models):
            report = self._measure(ctx, reference, place)
            tokens += report.pop("tokens")
            earlier = found.get(ctx.label(reference), {"problems": {}})
            found[ctx.label(reference)] = {**report, "problems": {**earlier["problems"], **report["problems"]}}
        for report in found.values():
            if len(report["problems"]) > 1:
                report["mean"] = mean_of_sets(report["problems"])
        (ctx.out / "report.json").write_text(json.dumps({"models": found}, indent=2) + "\n")
        return {"models": len(found), "tokens": tokens}

    def _measure(self, ctx: Context, reference: str, place: int) -> dict[str, Any]:
        from eval.engine import engine_for
        from eval.engine.types import Sampling
        from eval.problems import load, set_names
        from eval.report import reduce
        from eval.rollouts import collect, rollouts_file, write_rows
        from pipeline import models

        model, tokenizer = models.load(ctx.path(reference))
        label = ctx.label(reference)
        engine = engine_for(model, tokenizer)
        report: dict[str, Any] = {"parameters": models.parameters(model), "problems": {}, "tokens": 0}
        total = len(self.models) * len(self.problems)
        names = set_names(self.problems)
        for number, problem_set in enumerate(self.problems):
            begun = place * len(self.problems) + number

            def progress(done: int, of: int, begun: int = begun, problem_set: str = problem_set) -> None:
                ctx.progress(begun + done / of, total, model=label, problems=problem_set)

            rollouts = collect(
                engine,
                tokenizer,
                load(problem_set, self.problems_each, seed=0, base=self._folder),
                Sampling(self.max_completion_tokens, self.temperature),
                n=self.rollouts,
                seed_parts=(ctx.seed, "evaluate", label),
                open_thinking=self.open_thinking,
                context=models.context_length(model),
                progress=progress,
            )
            rows = [rollout.row() for rollout in rollouts]
            name = names[problem_set]
            write_rows(ctx.out / rollouts_file(label, name), rows)
            report["problems"][name] = reduce(rows)
            report["tokens"] += sum(rollout.completion.tokens for rollout in rollouts)
            ctx.log({"model": label, "problems": name, "pass@1": report["problems"][name]["pass@1"]})
        return report

