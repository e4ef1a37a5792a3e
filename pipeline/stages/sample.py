"""`sample`: rejection sampling. Rollouts of a model, kept where they are right and read well."""

import json
import random
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from eval.engine.types import Sampling
from eval.problems import load_sets
from eval.prompts import encode_prompts, ended, question_text, settled
from eval.protocol import Prompting
from eval.rollouts import Draws, keep, recall
from eval.tools.rows import row_of
from pipeline.contract.dataset.verdict import verdict
from pipeline.contract.fields import ArtifactType, ModelInput
from pipeline.contract.numbers import (
    Batch,
    Dtype,
    MinP,
    Probability,
    Problems,
    Temperature,
    Tokens,
    TopK,
    TopP,
    require_rows,
)
from pipeline.contract.processes import is_first
from pipeline.contract.prompt import AskingPrompt
from pipeline.contract.room import Room, require_room
from pipeline.contract.stage import Asks, Context, Metrics, Stage
from pipeline.contract.tools import Tools, having_tools, require_fitting
from pipeline.contract.work import Drawn, Work
from pipeline.serving.section import ServedEngines
from pipeline.stages.grpo import ProblemSets
from rewards.lazy import lazy
from rewards.rules import repetition

with lazy:
    from pipeline.models import pretrained
    from pipeline.serving.served import drawing


if TYPE_CHECKING:
    from eval.rollouts import Draws, Rollout


class Sample(ServedEngines, Stage):
    """Draw `rollouts` a problem and keep the correct ones, at most `keep_each` a problem and no text twice. Each row
    says which problem it answers and how many of its rollouts were right.

    `readable` asks for one language throughout, `format` for the tags, `repetition` for less than that much of it
    (DeepSeek-R1, section 2.3.3). What was dropped is counted by reason.
    """

    kind: ClassVar[str] = "sample"
    version: ClassVar[int] = 13
    makes: ClassVar[ArtifactType] = "dataset"
    distributed: ClassVar[bool] = True

    model: ModelInput = Field(description="the model that is asked")
    problems: ProblemSets = Field(min_length=1, description="problem sets to ask, name:split")
    problems_each: Problems = Field(default=512, description="problems of each set")
    rollouts: Batch = Field(default=8, description="completions drawn of each problem")
    keep_each: Batch = Field(default=2, description="the most completions kept of a problem")
    prefer: Literal["first", "shortest"] = Field(
        default="first", description="which of a problem's are kept: those that were drawn first, or the shortest"
    )
    only_correct: bool = Field(default=True, description="false keeps wrong answers, too, such as a good teacher's")
    readable: bool = Field(default=True, description="drop completions that change their language")
    format: bool = Field(default=True, description="drop completions without the tags of thinking and answer")
    finished: bool = Field(
        default=True, description="drop completions that the budget of tokens cut off: who learns from them learns to "
                                  "stop anywhere. One that has closed its answer's tag is none"
    )
    repetition: Probability | None = Field(
        default=0.5, description="drop completions of which a larger share repeats itself; null drops none"
    )
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    top_k: TopK = 0
    min_p: MinP = 0.0
    max_completion_tokens: Tokens = Field(default=64, description="longest completion")
    beyond_context: bool = Field(
        default=False, description="ask also where prompt and answer do not fit in the model's context"
    )
    dtype: Dtype | None = Field(default=None, description="what the weights are in; as saved where it is left out")
    prompt: AskingPrompt = Field(default=AskingPrompt(), description="how questions are put to the model")
    thinking_budget: Tokens | None = Field(
        default=None, description="thinking is closed by force after so many tokens, which leaves short traces; never "
                                  "where it is left out"
    )
    tools: Tools | None = Field(
        default=None, description="tools that the model may call while it answers; the rows say what they wrote, which "
                                  "is not learned"
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> "Sample":
        require_rows(self.problems_each * len(self.problems) * self.rollouts, "problems_each and rollouts")
        if self.thinking_budget and self.thinking_budget >= self.max_completion_tokens:
            raise ValueError(f"thinking_budget {self.thinking_budget} leaves nothing of max_completion_tokens "
                             f"{self.max_completion_tokens} for the answer")
        require_fitting(self.tools, self.prompt, self.thinking_budget)
        return self

    def asks(self, seed: int) -> list[Asks]:
        return [Asks(reference, self.problems_each, seed, "train") for reference in self.problems]

    def room(self) -> Room:
        return Room([self.model], self._prompting(), self.max_completion_tokens, self.beyond_context)

    def work(self) -> Work:
        drawn = Drawn(self.model, self.rollouts, self.max_completion_tokens, dtype=self.dtype,
                      vllm=self.by_vllm, speculate=self.speculate)
        most = min(self.keep_each, self.rollouts) * self.problems_each * len(self.problems)
        return Work(drawn=[drawn], rows=most)

    def run(self, ctx: Context) -> Metrics:
        if self.engine == "vllm" and not is_first():
            return {}  # a server splits the work over its own devices
        model, tokenizer = pretrained.take(ctx, self.model, self.dtype)
        sets = load_sets(self.problems, self.problems_each, ctx.seed, base=self._folder)
        problems = list(chain.from_iterable(sets))
        prompts = encode_prompts(tokenizer, problems, self._prompting())
        require_room(prompts, self.room(), pretrained.trained_context(model), self.model)
        sampling = Sampling(self.max_completion_tokens, self.temperature, self.top_p, self.top_k, self.min_p)
        how = ended(settled(tokenizer, self._prompting()))
        draws = Draws(self.rollouts, sampling, (ctx.seed, ctx.name), how, pretrained.context_length(model))
        pieces = ctx.checkpoints.pieces(alone=self.engine == "vllm")
        with drawing(model, tokenizer, self, ctx) as engine:
            keep(engine, tokenizer, problems, draws, pieces, progress=ctx.progress)
        if not is_first():
            return {}
        rollouts = recall(problems, draws, pieces)
        right = Counter(rollout.problem.id for rollout in rollouts if rollout.verdict.correct)
        if self.prefer == "shortest":
            rollouts = sorted(rollouts, key=lambda rollout: rollout.completion.tokens)
        dropped: Counter[str] = Counter()
        kept: dict[str, list[Rollout]] = {}
        for rollout in rollouts:
            reason = self._reason_to_drop(rollout, kept.get(rollout.problem.id, []))
            if reason:
                dropped[reason] += 1
            else:
                kept.setdefault(rollout.problem.id, []).append(rollout)
        rows = [rollout for group in kept.values() for rollout in group]
        random.Random(f"sample:{ctx.seed}").shuffle(rows)
        with (ctx.out / "data.jsonl").open("w") as file:
            for rollout in rows:
                record = row_of(question_text(rollout.problem, how), rollout.completion, how)
                record |= verdict(rollout.problem, right[rollout.problem.id], self.rollouts)
                file.write(json.dumps(record) + "\n")
        ctx.note(f"kept {len(rows)} of {len(rollouts)} rollouts; dropped: {dict(dropped)}")
        return {
            "rollouts": len(rollouts),
            "kept": len(rows),
            "problems": len(kept),
            "tokens": sum(rollout.completion.tokens for rollout in rollouts),
            **{f"dropped/{reason}": count for reason, count in sorted(dropped.items())},
        }

    def _prompting(self) -> Prompting:
        how = self.prompt.prompting(thinking_budget=self.thinking_budget)
        return having_tools(how, self.tools, self._folder)

    def _reason_to_drop(self, rollout: "Rollout", kept: "list[Rollout]") -> str | None:
        """Why a rollout is not kept beside those of its problem that are; None where it is."""
        fault = self._fault(rollout)
        if fault:
            return fault
        # What has closed its answer's tag has said all that it would.
        if self.finished and not (rollout.completion.finished or rollout.row()["format"]):
            return "unfinished"
        if any(other.completion.text == rollout.completion.text for other in kept):
            return "duplicate"
        return "enough of this problem" if len(kept) >= self.keep_each else None

    def _fault(self, rollout: "Rollout") -> str | None:
        """What is wrong with a rollout by itself."""
        row = rollout.row()
        if self.only_correct and not rollout.verdict.correct:
            return str(rollout.verdict.label)
        if not rollout.completion.text.strip():
            return "empty"
        if self.format and not row["format"]:
            return "format"
        if self.readable and not row["readable"]:
            return "unreadable"
        if self.repetition is not None and repetition(rollout.problem, rollout.completion) < -self.repetition:
            return "repetitive"
        return None
