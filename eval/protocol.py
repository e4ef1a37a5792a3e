"""How problems are put to a model and its answers drawn: everything that a score depends on besides the two."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal  # what a report says is JSON

from eval.engine.types import Sampling
from eval.instructions import AUTO, DEFAULTS
from eval.tools.use import ToolUse
from rewards.grade import own_verifiers
from rewards.types import Problem

Template = Literal["auto", "chat", "r1", "qa"]
Effort = Literal["low", "medium", "high"]
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
"""How long a model is asked to think, from little to much."""

Shot = tuple[str, str]
"""A worked example: the prompt and its solution."""


@dataclass(frozen=True)
class Prompting:
    """How a prompt is written and where an answer ends.

    system           text of the system's turn; in plain templates it stands before everything, as lm-evaluation-harness
                     puts a description
    instruction      text that follows the question, or stands around it where it holds "{question}"; "auto" is the
                     default of the problem's verifier (eval.instructions) for chat models without worked examples
    template         chat: the tokenizer's; r1: R1-Zero's plain text (eval.prompts.R1_ZERO);
                     qa: "Question: ..\\nAnswer:", as lm-evaluation-harness puts GSM8K;
                     auto: chat where the tokenizer has one, else r1
    template_options what the chat template is told besides, such as enable_thinking or reasoning_effort
    open_thinking    the prompt ends with <think>, where the template does not open the thinking itself
    shots            worked examples before the question
    thinking_budget  tokens after which thinking that is still open is closed by force (Muennighoff et al. 2025, arXiv
                     2501.19393); what is left of the completion's tokens is for the answer
    stop             texts that end an answer; it is cut before the first of them, and then counts as finished
    effort           how long the model is asked to think; None asks for nothing. How it is told of that, `eval.prompts`
                     settles with the tokenizer at hand (eval.effort)
    effort_line      the line behind the question that tells of the effort, where no option of the template does
    tools            what the model may call while it answers (eval.tools); how it is told of them, `eval.prompts`
                     settles with the tokenizer at hand
    tool_line        the text behind the question that tells of the tools, where the template does not
    """

    template: Template = "auto"
    open_thinking: bool = False
    shots: tuple[Shot, ...] = ()
    thinking_budget: int | None = None
    stop: tuple[str, ...] = ()
    system: str | None = None
    instruction: str | None = AUTO
    template_options: Mapping[str, Any] = field(default_factory=dict)
    effort: Effort | None = None
    effort_line: str | None = None
    tools: ToolUse | None = None
    tool_line: str | None = None

    @property
    def forces(self) -> bool:
        """Whether tokens may stand in an answer that the model did not draw."""
        return self.thinking_budget is not None or self.tools is not None

    def asking(self, effort: Effort | None) -> "Prompting":
        """The same with this effort; as it is with None."""
        return replace(self, effort=effort, effort_line=None) if effort else self

    def instruction_for(self, verifier: str) -> str | None:
        """What follows a question whose answer this verifier reads, for a model that takes instructions."""
        if self.instruction != AUTO:
            return self.instruction or None
        # Plain templates and worked examples show how to answer, and might show another way.
        return None if self.shots or self.template in ("r1", "qa") else DEFAULTS.get(verifier)


@dataclass(frozen=True)
class Protocol:
    """One way to measure: how it is asked, how it is drawn, how often, and the seed."""

    prompting: Prompting
    sampling: Sampling
    rollouts: int
    seed: int

    def describe(self, problems: Sequence[Problem], prompts: Sequence[object]) -> dict[str, Any]:
        """What a report says of it. `prompts` is what was sent: token ids, texts or messages, one for each problem."""
        own = own_verifiers(p.verifier for p in problems)
        return {
            "rollouts": self.rollouts,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "top_k": self.sampling.top_k,
            "min_p": self.sampling.min_p,
            "max_completion_tokens": self.sampling.max_tokens,
            "system": self.prompting.system,
            "instruction": self._instruction(problems),
            "template": self.prompting.template,
            "template_options": dict(self.prompting.template_options),
            "open_thinking": self.prompting.open_thinking,
            "shots": len(self.prompting.shots),
            "thinking_budget": self.prompting.thinking_budget,
            "stop": list(self.prompting.stop),
            # The line is null where options of the chat template, which stand above, tell of the effort.
            **({"effort": self.prompting.effort, "effort_line": self.prompting.effort_line}
               if self.prompting.effort else {}),
            **({"tools": list(self.prompting.tools.tools), "turns": self.prompting.tools.turns,
                "observation": self.prompting.tools.observation} if self.prompting.tools else {}),
            "seed": self.seed,
            # A set's name says nothing of its version, nor a template's of its text: only equal hashes are the same.
            "problems_sha256": sha256_of([_graded_by(p, own) for p in problems]),
            "prompts_sha256": sha256_of(list(prompts)),
            **({"verifiers_sha256": own} if own else {}),
        }

    def _instruction(self, problems: Sequence[Problem]) -> str | dict[str, str | None] | None:
        """The instruction; by verifier where there are several."""
        told = {name: self.prompting.instruction_for(name) for name in sorted({p.verifier for p in problems})}
        return next(iter(told.values()), None) if len(set(told.values())) < 2 else told


def _graded_by(problem: Problem, own: Collection[str]) -> list[object]:
    """What of a problem a verdict may depend on. Of the built-in verifiers none reads more than the answer; `own`, the
    user's, may read all of it."""
    always = [problem.id, problem.prompt, problem.answer, problem.verifier]
    return [*always, problem.family, problem.skeleton, plain(problem.meta)] if problem.verifier in own else always


def sha256_of(content: object) -> str:
    """SHA-256 of a JSON value, written one way."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: object) -> object:
    """What JSON can say of a value; of an object of a plug-in's own class its name."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return type(value).__qualname__
