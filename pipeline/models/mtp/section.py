"""The recipe fields of multi-token prediction; the same in every stage that trains it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.contract.numbers import Probability, Weight


class Mtp(BaseModel):
    """How a module for multi-token prediction is trained beside the model (DeepSeek-V3, arXiv 2412.19437, section 2.2).

    Its loss, of the token after the next one, is added to the model's, times `weight`, and in the last `late` of the
    steps times `late_weight`: in the paper 0.3 for 10T tokens, and 0.1 for the 4.8T after them. In reinforcement it
    learns of hidden states and rollouts that the model has made, and the model does not learn of it. Its loss stands
    alone there, and under AdamW a weight moves little but what clipping leaves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: Weight = Field(default=0.3, description="weight of its loss beside the model's")
    late_weight: Weight = Field(default=0.1, description="its weight in the last steps")
    late: Probability = Field(default=0.32, description="share of the steps that these last ones are")

    def weight_at(self, step: int, steps: int) -> float:
        """The weight at a step, counted from 0, of so many."""
        return self.weight if step < (1 - self.late) * steps else self.late_weight


PARTED = ("mtp: the module learns with the model's embedding and head, which FSDP2 and ZeRO-3 cut into parts: train it "
          "under MULTI_GPU or ZeRO-2, or in grpo, where it learns beside the policy")

MtpSection = Annotated[Mtp | None, Field(
    description="train a module that predicts the token after the next one, which drafts for rollouts; none where it "
                "is left out"
)]
