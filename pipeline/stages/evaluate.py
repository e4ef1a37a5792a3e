"""`evaluate`: models asked held-out problems, graded and counted."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from eval.choosing import chooser
from eval.engine.types import Sampling
from eval.language_model import Tokenizer
from eval.pieces import Pieces
from eval.problems import load, set_names
from eval.prompts import encode_prompts, ended, settled
from eval.protocol import Effort, Protocol
from eval.rollouts import Draws, Rollout, keep, recall, rollouts_file, write_rows
from eval.shots import require_shots, shots_of, train_split
from eval.ways import Way, budgets_of, called, ways
from pipeline.contract import processes
from pipeline.contract.errors import StageError
from pipeline.contract.fields import ArtifactType, ModelInput, PlugIn, ReportInput
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
from pipeline.contract.prompt import MeasuringPrompt
from pipeline.contract.room import Room, require_room
from pipeline.contract.stage import Asks, Context, Metrics, Stage
from pipeline.contract.tools import Tools, having_tools, require_fitting
from pipeline.contract.work import Drawn, Work
from pipeline.disk.durable import JsonObject
from pipeline.serving.section import ServedEngines
from pipeline.stages.grpo import ProblemSets
from rewards.lazy import lazy
from rewards.types import Problem

with lazy:
    from eval.report import mean_of_sets, reduce, together
    from eval.scaling import efforts
    from pipeline.models import pretrained
    from pipeline.serving.served import drawing


if TYPE_CHECKING:
    from eval.protocol import Protocol


_Question = tuple[str, str, Way, str]


@dataclass(frozen=True)
class _Asked:
    """A problem set `of` that a model was asked, and how; `set` is what that is called in the report."""

    label: str
    parameters: int
    of: str
    way: Way
    set: str
    problems: list[Problem]
    draws: "Draws"
    protocol: JsonObject

    @property
    def name(self) -> str:
        """Of its pieces."""
        return f"{self.label}-{self.set}"


class Evaluate(ServedEngines, Stage):
    """Ask every model every problem set, `rollouts` times a problem, and report shares with their intervals.

    `reports` takes in what earlier evaluate stages found, so that models can be measured while others still train and
    one report holds them all. The rollouts are kept beside it, one file a model and set.
    """

    kind: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 10
    makes: ClassVar[ArtifactType] = "report"
    distributed: ClassVar[bool] = True

    models: list[ModelInput] = Field(default_factory=list, description="the models that are measured")
    reports: list[ReportInput] = Field(
        default_factory=list, description="earlier evaluate stages, whose scores are taken into this report"
    )
    problems: ProblemSets = Field(min_length=1, description="problem sets to measure on, name:split")
    problems_each: Problems | None = Field(default=200, description="problems of each set; null is all of them")
    rollouts: Batch = Field(default=16, description="completions drawn of each problem")
    temperature: Temperature = 1.0
    max_completion_tokens: Tokens = Field(default=64, description="longest completion")
    top_p: TopP = 1.0
    top_k: TopK = 0
    min_p: MinP = 0.0
    beyond_context: bool = Field(
        default=False, description="ask also where prompt and answer do not fit in the model's context"
    )
    dtype: Dtype | None = Field(default=None, description="what the weights are in; as saved where it is left out")
    prompt: MeasuringPrompt = Field(default=MeasuringPrompt(), description="how questions are put to the models")
    thinking_budget: Tokens | None = Field(
        default=None, description="thinking is closed by force after so many; never where it is left out"
    )
    best_by: Literal["confidence"] | Annotated[str, PlugIn("rule")] | None = Field(
        default=None, description="what chooses one of a problem's rollouts, for best@k: confidence, the mean "
                                  "log-probability, or a reward rule; nothing where it is left out"
    )
    tools: Tools | None = Field(default=None, description="tools that the models may call while they answer")
    effort: list[Effort] = Field(
        default_factory=list, description="ask everything with each of these efforts, for a curve of accuracy against "
                                          "tokens"
    )
    budgets: Annotated[list[Tokens], Field(max_length=32)] = Field(
        default_factory=list, description="thinking budgets that everything is asked with, after it was asked without"
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> "Evaluate":
        if not self.models and not self.reports:
            raise ValueError("there is nothing to measure: give models, or reports of earlier stages")
        require_rows((self.problems_each or 1) * len(self.problems) * len(self._ways()) * len(self.models)
                     * self.rollouts,
                     "models, problems, problems_each, rollouts, effort and budgets")
        return self

    @model_validator(mode="after")
    def _check_names(self) -> "Evaluate":
        # Pieces and files are called so.
        pairs = {(model, name) for model in self.models for name in self.problems}
        names = Counter(rollouts_file(*pair) for pair in pairs)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"two pairs of a model and a problem set would both be called {twice[0]}: ask them in "
                             "stages of their own, whose reports `reports` puts together")
        return self

    @model_validator(mode="after")
    def _check_best_by(self) -> "Evaluate":
        if self.best_by:
            if self.rollouts == 1:
                raise ValueError("best_by chooses among the rollouts of a problem, and there is one; ask for more")
            chooser(self.best_by, self._folder)
        return self

    @model_validator(mode="after")
    def _check_effort(self) -> "Evaluate":
        if self.effort:
            self.prompt.require_no_effort("effort")
        require_fitting(self.tools, self.prompt, any(self._budgets))
        if self.budgets and self.thinking_budget:
            raise ValueError("budgets asks with several thinking budgets, and thinking_budget is one; leave one out")
        for name, given in (("effort", self.effort), ("budgets", self.budgets)):
            if len(set(given)) < len(given):
                raise ValueError(f"{name} names one of its values twice")
        if (longest := max(filter(None, self._budgets), default=0)) >= self.max_completion_tokens:
            raise ValueError(f"a thinking budget of {longest} leaves nothing of max_completion_tokens "
                             f"{self.max_completion_tokens} for the answer")
        return self

    @model_validator(mode="after")
    def _check_shots(self) -> "Evaluate":
        for reference in self.problems if self.prompt.shots else []:
            require_shots(reference, self.prompt.shots, base=self._folder)
        return self

    def asks(self, seed: int) -> list[Asks]:
        if not self.models:
            return []
        shown = [train_split(reference) for reference in self.problems] if self.prompt.shots else []
        return [*(Asks(reference, self.problems_each, 0, "test") for reference in self.problems),
                *(Asks(reference, self.prompt.shots, 0, "shown") for reference in dict.fromkeys(shown))]

    def room(self) -> Room:
        how = having_tools(self.prompt.prompting(), self.tools, self._folder)
        how = how.asking(self.effort[0] if self.effort else None)
        return Room(self.models, how, self.max_completion_tokens, self.beyond_context, self.prompt.shots)

    def work(self) -> Work:
        return Work(drawn=[
            Drawn(model, self.rollouts * len(self._ways()), self.max_completion_tokens, dtype=self.dtype,
                  vllm=self.by_vllm, speculate=self.speculate)
            for model in self.models
        ])

    def run(self, ctx: Context) -> Metrics:
        if self.engine == "vllm" and not processes.is_first():
            return {}  # a server splits the work over its own devices
        # Read once, by the process that writes the report.
        own = {ctx.label(one): pretrained.sha256(ctx.path(one)) for one in self.models} if processes.is_first() else {}
        found = self._earlier(ctx, own)
        pieces = ctx.checkpoints.pieces(alone=self.engine == "vllm")
        asked: Iterable[_Asked] = self._ask(ctx, pieces)
        if pieces.among > 1:
            asked = list(asked)  # what other processes make is waited for when one's own is made
        if not processes.is_first():
            return {}
        measured: dict[str, JsonObject] = {}
        varied: dict[str, dict[str, dict[Way, JsonObject]]] = {}  # by model and set
        tokens = 0
        for one in asked:
            report = measured.setdefault(one.label, self._begun(one, found.get(one.label, {}), own[one.label]))
            rollouts = recall(one.problems, one.draws, pieces, one.name)
            rows = self._rows(rollouts)
            write_rows(ctx.out / rollouts_file(one.label, one.set), rows)
            report["problems"][one.set] = reduce(rows)
            report["protocol"][one.set] = {**one.protocol, **({"best_by": self.best_by} if self.best_by else {})}
            if self.effort or self.budgets:
                varied.setdefault(one.label, {}).setdefault(one.of, {})[one.way] = report["problems"][one.set]
            tokens += sum(rollout.completion.tokens for rollout in rollouts)
            ctx.log({"model": one.label, "problems": one.set, "pass@1": report["problems"][one.set]["pass@1"]})
        for label, sets in varied.items():
            earlier = measured[label].get("efforts", {})
            measured[label]["efforts"] = {**earlier, **{name: efforts(ways) for name, ways in sets.items()}}
        found |= measured
        for report in found.values():
            # Over sets that were asked in several ways a mean would be one of ways, too.
            if len(report["problems"]) > 1 and "efforts" not in report:
                report["mean"] = mean_of_sets(report["problems"])
        (ctx.out / "report.json").write_text(json.dumps({"models": found}, indent=2) + "\n")
        return {"models": len(found), "tokens": tokens}

    def _rows(self, rollouts: Sequence[Rollout]) -> list[JsonObject]:
        rows = [rollout.row() for rollout in rollouts]
        if self.best_by is None:
            return rows
        values = chooser(self.best_by, self._folder)(rollouts)
        return [{**row, "best_by": value} for row, value in zip(rows, values, strict=True)]

    def _earlier(self, ctx: Context, own: Mapping[str, str]) -> JsonObject:
        """What the earlier reports say, by model. Raises StageError where a model of theirs is another one than its
        namesake here, of which `own` has the hash, or in another report, such as the `zero` of another run."""
        found: JsonObject = {}
        for reference in self.reports:
            for label, report in json.loads((ctx.path(reference) / "report.json").read_text())["models"].items():
                _require_same(found.get(label, report), report, label)
                found[label] = together(found.get(label, {}), report)
        for label in found.keys() & own.keys():
            _require_same({"sha256": own[label]}, found[label], label)
        return found

    def _begun(self, asked: "_Asked", earlier: JsonObject, sha256: str) -> JsonObject:
        """What report.json says of a model, before a set is added; `earlier` reports may have measured it on others."""
        return {
            "parameters": asked.parameters,
            "sha256": sha256,
            **{key: dict(earlier.get(key, {})) for key in ("problems", "protocol")},
            **({"efforts": earlier["efforts"]} if "efforts" in earlier else {}),
            **({"dtype": self.dtype} if self.dtype else {}),
            **({"engine": self.engine} if self.engine != "native" else {}),
        }

    def _ask(self, ctx: Context, pieces: Pieces) -> "Iterator[_Asked]":
        """Ask every model every problem set; what one was asked is told when its rollouts are in `pieces`, as far as
        they fall to this process."""
        questions = self._questions()
        for place, reference in enumerate(self.models):
            begun = place * len(questions)
            # A call for each, which a model does not outlast: two of them need not fit into memory.
            yield from self._ask_one(ctx, pieces, reference, questions, begun)

    def _ask_one(
        self, ctx: Context, pieces: Pieces, reference: str, questions: Sequence[_Question], begun: int
    ) -> "Iterator[_Asked]":
        """Ask one model; `begun` questions were asked of others before."""
        model, tokenizer = pretrained.take(ctx, reference, self.dtype)
        label, total = ctx.label(reference), len(self.models) * len(questions)
        with drawing(model, tokenizer, self, ctx) as engine:
            for number, (problem_set, of, way, name) in enumerate(questions, start=begun):

                def progress(done: int, of: int, number: int = number, name: str = name) -> None:
                    ctx.progress(number + done / of, total, model=label, problems=name)

                problems = load(problem_set, self.problems_each, seed=0, base=self._folder)
                protocol = self._protocol(problem_set, way, tokenizer, ctx.seed)
                prompts = encode_prompts(tokenizer, problems, protocol.prompting)
                require_room(prompts, self.room(), pretrained.trained_context(model), f"{label} on {name}")
                seed_parts, room = (ctx.seed, "evaluate", label), pretrained.context_length(model)
                draws = Draws(self.rollouts, protocol.sampling, seed_parts, protocol.prompting, room)
                asked = _Asked(label, pretrained.parameters(model), of, way, name, problems, draws,
                               protocol.describe(problems, prompts))
                keep(engine, tokenizer, problems, draws, pieces, asked.name, progress)
                yield asked

    @property
    def _budgets(self) -> list[int | None]:
        """The thinking budgets that everything is asked with; None for asking without one."""
        return budgets_of(self.thinking_budget, self.budgets)

    def _ways(self) -> list[Way]:
        return ways(self.effort, self._budgets)

    def _questions(self) -> list[_Question]:
        """Everything that a model is asked: the reference of a problem set, its name, the way, and what the set is
        called in the report when it is asked in that way."""
        return [(reference, name, way, called(name, way, compared=bool(self.budgets)))
                for (reference, name), way in product(set_names(self.problems).items(), self._ways())]

    def _protocol(self, problem_set: str, way: Way, tokenizer: Tokenizer, seed: int) -> "Protocol":
        shots = shots_of(problem_set, self.prompt.shots, base=self._folder)
        effort, budget = way
        how = having_tools(self.prompt.prompting(shots, budget), self.tools, self._folder)
        prompting = ended(settled(tokenizer, how.asking(effort)))
        sampling = Sampling(self.max_completion_tokens, self.temperature, self.top_p, self.top_k, self.min_p)
        return Protocol(prompting, sampling, self.rollouts, seed)


def _require_same(one: JsonObject, other: JsonObject, label: str) -> None:
    if {"sha256"} <= one.keys() & other.keys() and one["sha256"] != other["sha256"]:
        raise StageError(f"reports: {label} of another report is another model than {label} here; leave that report "
                         "out, and hold both against each other with retort compare")
