"""The recipe fields that say how weights are moved; the same in every stage that trains."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contract.numbers import MOST_STEPS, Dtype, LearningRate, Probability, Weight
from pipeline.disk.durable import JsonObject

OptimizerName = Literal["adamw", "muon", "adafactor", "nadam", "radam", "rmsprop", "sgd"]

_USES: dict[str, tuple[str, ...]] = {
    "betas": ("adamw", "nadam", "radam"),
    "epsilon": ("adamw", "nadam", "radam", "rmsprop"),
    "momentum": ("sgd", "rmsprop"),
}

class Optimizer(BaseModel):
    """Which optimizer, and its constants. `muon` is ours (training/optimizer/muon.py), the others are torch's under
    these names; what is left out is as torch has it. Weight decay is for matrices alone, norms and biases have none; it
    is AdamW's (decoupled), but for rmsprop and sgd, of which torch has a term in the gradient.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: OptimizerName | None = Field(
        default=None, description="adamw for a model that was given, muon for one that was made here"
    )
    betas: tuple[Probability, Probability] | None = Field(default=None, description="decay of the two moments")
    epsilon: float | None = Field(default=None, gt=0, le=1)
    momentum: Probability | None = None
    weight_decay: Weight = 0.0

    @model_validator(mode="after")
    def _check_constants(self) -> "Optimizer":
        for field, users in _USES.items():
            if getattr(self, field) is not None and self.name not in users:
                named = f"{self.name} has none" if self.name else "say which optimizer by its name"
                raise ValueError(f"optimizer.{field} is for {', '.join(users)}; {named}")
        return self


class RateSchedule(BaseModel):
    """How the learning rate goes over a stage: a warm-up, then `shape` from the peak to `floor` of it.

    cosine: half a period (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts); linear: a line; constant:
    the peak to the end; wsd: the peak, and a line down over the last `decay` of the steps (Hu et al. 2024, arXiv
    2404.06395, section 4, whose decay is exponential).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["cosine", "linear", "constant", "wsd"] | None = None
    warmup: Probability | None = Field(default=None, description="share of the steps")
    warmup_steps: int | None = Field(default=None, ge=0, le=MOST_STEPS)
    floor: Probability | None = Field(default=None, description="of the peak, at the end; 0.1, and of wsd 0")
    decay: Probability = Field(default=0.2, description="wsd: share of the steps in which the rate falls")

    @model_validator(mode="after")
    def _check_warmup(self) -> "RateSchedule":
        if self.warmup is not None and self.warmup_steps is not None:
            raise ValueError("warmup is a share of the steps and warmup_steps their number; give one of them")
        return self


class Learning(BaseModel):
    """The fields of a stage that trains: `class Sft(Learning, Stage)`.

    What is left out depends on where the model comes from: one that `pretrain` made here is small and learns at rates
    that would ruin one that somebody trained for weeks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: LearningRate | None = Field(default=None, description="the peak; of muon that of matrices")
    adam_learning_rate: LearningRate | None = Field(
        default=None, description="of everything but matrices, which muon leaves to AdamW"
    )
    optimizer: Optimizer = Optimizer()
    schedule: RateSchedule = RateSchedule()
    max_grad_norm: float = Field(default=1.0, gt=0, le=1e6, description="gradients are scaled down to this norm")
    micro_batch_tokens: int | None = Field(
        default=None, ge=1, le=10**9,
        description="most tokens of a forward and its backward, of one process; a batch with more is split, and its "
                    "gradients are added up. Estimated from the model's size where it is left out"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="keep the inputs of layers alone and compute the rest again: less memory, more time"
    )
    mixed_precision: bool | None = Field(
        default=None, description="compute in bfloat16 by autocast, whatever the weights are in; the default on GPUs"
    )
    dtype: Dtype | None = Field(
        default=None, description="what the weights are in, in training and when saved; as they were given"
    )

    def learning(self) -> JsonObject:
        """These fields alone, as a recipe has them."""
        return self.model_dump(include=set(Learning.model_fields))

    @model_validator(mode="after")
    def _check_rates(self) -> "Learning":
        if self.adam_learning_rate is not None and self.optimizer.name not in (None, "muon"):
            raise ValueError(f"adam_learning_rate is what muon takes beside its own; {self.optimizer.name} has "
                             "learning_rate alone")
        return self
