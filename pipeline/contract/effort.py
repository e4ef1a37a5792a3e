"""The `effort` section of stages: how many tokens of thinking belong to low, medium and high effort."""

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval.protocol import EFFORTS, Effort
from pipeline.contract.numbers import Tokens


class EffortBudgets(BaseModel):
    """Tokens of thinking that each effort may have, what opens the thinking included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Tokens = Field(description="tokens of thinking with low effort")
    medium: Tokens = Field(description="tokens of thinking with medium effort")
    high: Tokens = Field(description="tokens of thinking with high effort")

    @model_validator(mode="after")
    def _check_order(self) -> "EffortBudgets":
        if not self.low < self.medium < self.high:
            raise ValueError(f"budgets must rise with the effort, and are low {self.low}, medium {self.medium}, high "
                             f"{self.high}")
        return self

    def budgets(self) -> dict[Effort, int]:
        return {"low": self.low, "medium": self.medium, "high": self.high}

    def fitting(self, thinking: int) -> Effort:
        """The least effort whose budget holds so much thinking; high for what is longer than any."""
        return next((effort for effort, most in self.budgets().items() if thinking <= most), EFFORTS[-1])
