"""What a recipe says of teachers: sections of `distill` and of `grpo`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contract.fields import ModelInput, PlugIn
from pipeline.contract.numbers import (
    MOST_TOKENS,
    Batch,
    Probability,
    Problems,
    Steps,
    Tokens,
    Weight,
    require_rounds,
    require_rows,
)

ProblemSets = Annotated[list[str], PlugIn("problem set")]

TopK = Annotated[int | None, Field(
    ge=1, le=MOST_TOKENS,
    description="the teacher's likeliest words that are told apart, the others being one; where it is left out, all of "
                "a vocabulary of up to 4,096 words, and 128 of a larger one"
)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Match(Section):
    """How a teacher's distributions over every token of the traces are learned (Hinton, Vinyals and Dean 2015)."""

    temperature: float = Field(
        default=1.0, gt=0, le=100, description="what the logits of both are divided by; more shows more of what the "
                                               "teacher thinks of unlikely words"
    )
    mix: Probability = Field(
        default=0.9, description="weight of the teacher's distributions; the tokens of the traces have the rest"
    )
    top_k: TopK = None


class Rollouts(Section):
    """What the student writes itself, to be told by a teacher what to write in its place."""

    problems: ProblemSets = Field(min_length=1, description="problem sets that the student is asked, name:split")
    problems_each: Problems = Field(default=512, description="problems of each set")
    steps: Steps = Field(description="rounds of rollouts")
    prompts_per_step: Batch = Field(default=64, description="problems of a round")
    group_size: Batch = Field(default=1, description="rollouts of each problem")
    updates_per_step: int = Field(
        default=1, ge=1, le=1000, description="optimizer steps that a round's rollouts are split into"
    )
    temperature: float = Field(
        default=1.0, gt=0, le=100, description="what logits are divided by before a token is drawn, and in both "
                                               "distributions"
    )
    max_completion_tokens: Tokens = Field(default=64, description="longest completion")
    top_k: TopK = None

    @model_validator(mode="after")
    def _check_sizes(self) -> "Rollouts":
        problems = self.problems_each * len(self.problems)
        require_rounds(self.prompts_per_step, self.group_size, self.updates_per_step, problems)
        require_rows(self.steps * self.prompts_per_step * self.group_size, "steps, prompts_per_step and group_size")
        return self


class WeighedTeacher(Section):
    """A teacher beside rewards: `weight` times the reverse KL divergence from its distributions, a token, is added to
    the loss of `grpo`."""

    model: ModelInput = Field(description="the teacher, of the same tokenizer as the model that is trained")
    weight: Weight = Field(default=0.1, gt=0, description="weight of the divergence from it")
    top_k: TopK = None
