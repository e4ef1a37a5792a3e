"""What a recipe says of the objective: fields of `grpo`."""

from typing import Literal

from pydantic import BaseModel, Field

from pipeline.contract.numbers import Weight
from rewards.lazy import lazy

with lazy:
    from pipeline.rl.objectives.objective import Objective

class Minimized(BaseModel):
    """Fields that say what is minimized."""

    beta: Weight = Field(default=0.0, description="weight of the KL divergence from the start")
    kl: Literal["k1", "k3"] = Field(
        default="k3", description="how that divergence is estimated (Schulman 2020); k3 has less noise"
    )
    entropy_bonus: Weight = Field(
        default=0.0, description="weight of the mean entropy of a token, which is to stay high; trl's entropy_coef"
    )
    objective: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "maxrl", "reinforce++", "rloo"] = Field(
        default="dapo", description="what is minimized"
    )
    clip: float | None = Field(
        default=None, gt=0, le=100, description="how far a ratio may fall below 1; the objective's own where it is "
                                                "left out"
    )
    clip_high: float | None = Field(
        default=None, gt=0, le=100, description="how far a ratio may rise above 1; the objective's own where it is "
                                                "left out"
    )
    scale: Literal["group", "batch", "advantages", "mean", "none"] | None = Field(
        default=None, description="what divides advantages; the objective's own where it is left out"
    )

    def minimized(self, longest: int) -> "Objective":
        """The objective for completions of at most `longest` tokens."""
        return Objective(
            self.objective, self.clip, self.clip_high, self.beta, self.kl, self.scale, longest, self.entropy_bonus
        )
