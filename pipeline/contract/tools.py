"""The `tools` section of stages: what a model may call while it answers."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval.protocol import Prompting
from eval.tools.use import OBSERVATION, TURNS, ToolUse
from pipeline.contract.fields import PlugIn
from pipeline.contract.numbers import Tokens
from pipeline.contract.prompt import AskingPrompt


class Tools(BaseModel):
    """A model makes calls in the form of its chat template, or as `<call>calculator 3 + 4</call>`; what the tool says
    becomes a part of its answer, and is not learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use: Annotated[list[str], PlugIn("tool")] = Field(
        min_length=1, max_length=64, description="calculator, python, search, or functions of your own: file.py:name"
    )
    turns: int = Field(default=TURNS, ge=1, le=1000, description="calls that an answer may make")
    observation: Tokens = Field(default=OBSERVATION, description="longest that a tool may say; what is longer is cut")
    documents: Annotated[str | None, PlugIn("documents")] = Field(
        default=None, description="the folder of texts (.txt, .md) that search looks in"
    )

    @model_validator(mode="after")
    def _check_documents(self) -> "Tools":
        if ("search" in self.use) != (self.documents is not None):
            raise ValueError("documents is the folder that the tool search looks in: give both, or neither")
        return self

    def used(self, folder: Path | None) -> ToolUse:
        """The same for those who call them; `folder` is the recipe's."""
        return ToolUse(tuple(self.use), self.turns, self.observation, str(folder or ""), self.documents or "")


def having_tools(how: Prompting, tools: Tools | None, folder: Path | None) -> Prompting:
    """Prompting by which a model also has these tools; `folder` is the recipe's."""
    return replace(how, tools=tools.used(folder)) if tools else how


def require_fitting(tools: Tools | None, prompt: AskingPrompt, thinking_budget: int | bool | None) -> None:
    """Raises ValueError where the other fields of a stage do not go with its tools."""
    if tools and thinking_budget:
        raise ValueError("tools and a thinking budget do not go together yet: leave one of them out")
    if tools and prompt.stop:
        raise ValueError("tools and prompt.stop do not go together: a tool may say what stops an answer")
