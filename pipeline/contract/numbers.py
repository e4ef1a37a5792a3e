"""The kinds of numbers that fields of stages hold, each with the bounds that its meaning has.

The upper bounds are far above what anybody trains with. They are there so that a slip of the keyboard is told when the
recipe is read, and not by the machine's memory hours later: what is inside them can be run.
"""

from typing import Annotated, Literal

from pydantic import Field

MOST_STEPS = 1_000_000
MOST_TOKENS = 1_000_000
MOST_PROBLEMS = 1_000_000
MOST_ROWS = 50_000_000
"""Rows, or rollouts, that one stage goes through in all."""

Steps = Annotated[int, Field(ge=1, le=MOST_STEPS, json_schema_extra={"unit": "steps"})]
"""Steps of an optimizer, or rounds of rollouts."""

Batch = Annotated[int, Field(ge=1, le=100_000)]
"""What a step takes at once: rows, prompts, or rollouts of a problem."""

Problems = Annotated[int, Field(ge=1, le=MOST_PROBLEMS, json_schema_extra={"unit": "problems"})]
"""Problems of a set."""

Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS, json_schema_extra={"unit": "tokens"})]
"""A length in tokens."""

Epochs = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]

LearningRate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
"""The peak of a schedule, per optimizer step."""

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A probability or a share of a whole."""

Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
"""A factor of a loss."""

Temperature = Annotated[float, Field(
    ge=0, le=100, allow_inf_nan=False,
    description="what logits are divided by before a token is drawn; 0 takes the likeliest token"
)]

TopP = Annotated[float, Field(
    gt=0, le=1, allow_inf_nan=False, description="draw from the likeliest tokens of so much probability"
)]
TopK = Annotated[int, Field(
    ge=0, le=MOST_TOKENS, description="draw from so many of the likeliest tokens; 0 is all of them"
)]
MinP = Annotated[float, Field(
    ge=0, lt=1, allow_inf_nan=False, description="draw from tokens with this share of the likeliest one's probability"
)]


Dtype = Literal["float32", "bfloat16"]
"""What weights are in."""


def require_rows(rows: float, told: str) -> None:
    """Raises ValueError where a stage would go through more rows than `MOST_ROWS`; `told` says what they come from."""
    if rows > MOST_ROWS:
        raise ValueError(f"{told} make {rows:,.0f} rows, and a stage goes through at most {MOST_ROWS:,}; lower one")


def require_rounds(prompts: int, group_size: int, updates: int, problems: int) -> None:
    """Raises ValueError where the rollouts of a round, `group_size` for each of `prompts` problems, cannot be split
    into so many updates, or where a stage has fewer `problems` than that."""
    if prompts * group_size % updates:
        raise ValueError(f"{prompts * group_size} rollouts a step do not split into {updates} updates")
    if problems < prompts:
        raise ValueError(f"{problems} problems are too few for {prompts} prompts a step")
