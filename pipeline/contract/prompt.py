"""The `prompt` section of stages: how questions are put to a model, the same in training, sampling and evaluation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any  # a template's options are JSON

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval.chat_template import RESERVED
from eval.effort import OPTIONS
from eval.instructions import AUTO
from eval.protocol import Effort, Prompting, Shot, Template

MOST_STOPS = 16
"""Texts that end an answer; each is looked for at every token."""


class Prompt(BaseModel):
    """How a question is put, and how a row of training data is. The same section in several stages asks them alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str | None = Field(default=None, description="text of the system's turn")
    instruction: str | None = Field(
        default=AUTO,
        description="how to answer, put after the question, or around it where {question} stands in it; auto: the "
                    "default of the problem's verifier, for chat models that were not made here; null: none",
    )
    template: Template = Field(
        default="auto", description="the tokenizer's chat template, R1-Zero's text, or Question: .. Answer:"
    )
    template_options: dict[str, Any] = Field(
        default_factory=dict, description="for the chat template, such as enable_thinking or reasoning_effort"
    )
    open_thinking: bool = Field(default=False, description="whether the prompt already opens the thinking")
    effort: Effort | None = Field(
        default=None, description="how long to think, told by an option of the chat template or by a line behind the "
                                  "question; nothing is told where it is left out"
    )

    @model_validator(mode="after")
    def _check_options(self) -> "Prompt":
        if taken := sorted(RESERVED & self.template_options.keys()):
            raise ValueError(f"template_options cannot set {taken[0]}, which Retort decides itself")
        if self.open_thinking and self.template_options.get("enable_thinking") is False:
            raise ValueError("open_thinking asks for thinking, and template_options.enable_thinking is false")
        if self.effort:
            self.require_no_effort("prompt.effort", but_own=True)
        return self

    def require_no_effort(self, told: str, *, but_own: bool = False) -> None:
        """Raises ValueError where the section says itself how long to think, beside what is `told` elsewhere."""
        if self.effort and not but_own:
            raise ValueError(f"{told} asks with several efforts, and prompt.effort is one; leave one of them out")
        if taken := sorted(self.template_options.keys() & set(OPTIONS)):
            raise ValueError(f"{told} sets template_options.{taken[0]} itself; leave one of them out")

    def prompting(self, shots: Sequence[Shot] = (), thinking_budget: int | None = None) -> Prompting:
        """The section as `eval` knows it."""
        return Prompting(
            self.template, self.open_thinking, tuple(shots), thinking_budget, (), self.system, self.instruction or None,
            self.template_options, self.effort
        )


class AskingPrompt(Prompt):
    """A prompt that a model answers."""

    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=MOST_STOPS)] = Field(
        default_factory=list, description="texts that end an answer, which is cut before them; left out, r1 and qa end "
                                          "in sample and evaluate where a next question begins"
    )

    def prompting(self, shots: Sequence[Shot] = (), thinking_budget: int | None = None) -> Prompting:
        return replace(super().prompting(shots, thinking_budget), stop=tuple(self.stop))


class MeasuringPrompt(AskingPrompt):
    """A prompt of problems that have worked examples beside them."""

    shots: int = Field(
        default=0, ge=0, le=1000, description="worked examples before the question, from the set's train split"
    )
