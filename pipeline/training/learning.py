"""The recipe fields that say how weights are moved; the same in every stage that trains."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contract.fields import NotInFingerprint
from pipeline.contract.numbers import MOST_STEPS, Dtype, LearningRate, Probability, Weight
from pipeline.disk.durable import JsonObject

OptimizerName = Literal["adamw", "muon", "adafactor", "nadam", "radam", "rmsprop", "sgd"]

OF_MATRICES = ("muon", "adafactor")
"""Optimizers that are not made number by number, and need a parameter in its shape."""

ADAPTERS_IN_PARTS = ("rollouts of adapters are not drawn while the weights lie in parts: leave lora out, or take DDP "
                     "or ZeRO-2, which hold them whole")


def unshareable(optimizer: str | None, dtype: str | None, *, fsdp: bool, deepspeed: bool) -> str | None:
    """Why weights of this dtype that FSDP or DeepSpeed share out are not trained by this optimizer; None where they
    are. What is not known yet is None, and may do."""
    if deepspeed and optimizer in OF_MATRICES:
        return (f"DeepSpeed cuts parameters into flat pieces, and {optimizer} sees matrices as a whole: take "
                "optimizer: {name: adamw}, or FSDP")
    if fsdp and optimizer == "adafactor":  # whose factors torch cannot update in parts
        return "torch's adafactor does not run under FSDP: take another optimizer"
    if (fsdp or deepspeed) and dtype not in (None, "float32"):
        return (f"weights in {dtype} have no copies in full precision under FSDP and DeepSpeed: set dtype: float32, "
                "and mixed_precision: true to compute in bfloat16")
    return None


def untrainable(dtype: str) -> str | None:
    """Why weights of this dtype are not trained as they were given; None where they are."""
    if dtype != "float16":
        return None
    return ("the model is in float16, in which small gradients are lost without scaling of the loss, which is not "
            "done here: set dtype: float32, or bfloat16")


Beta = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
"""Of a running mean, which at 1 would never move."""

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
    betas: tuple[Beta, Beta] | None = Field(
        default=None, description="decay of the two moments of adamw, nadam, radam; torch's where left out"
    )
    epsilon: float | None = Field(
        default=None, gt=0, le=1, description="what is added to the divisor of an update; torch's where it is left out"
    )
    momentum: Probability | None = Field(
        default=None, description="of sgd and rmsprop: share of the last update that goes on; none where it is left out"
    )
    weight_decay: Weight = Field(default=0.0, description="weight decay, of matrices alone")

    @model_validator(mode="after")
    def _check_constants(self) -> "Optimizer":
        for field, users in _USES.items():
            if getattr(self, field) is not None and self.name not in users:
                named = f"{self.name} has none" if self.name else "say which optimizer by its name"
                raise ValueError(f"optimizer.{field} is for {', '.join(users)}; {named}")
        return self


class RateSchedule(BaseModel):
    """How the learning rate goes over a stage: `shape` goes from `learning_rate` at the first step to `floor` of it at
    the last, and the warm-up, which rises from 0 to 1, multiplies it.

    cosine: half a period (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts); linear: a line; constant:
    the same to the end; wsd: the same, and a line down over the last `decay` of the steps (Hu et al. 2024, arXiv
    2404.06395, section 4, whose decay is exponential).

    constant reaches `learning_rate`, and so does wsd whose warm-up ends before its decay begins. cosine and linear have
    fallen when the warm-up ends, and their highest rate is less, unlike that of transformers' schedules, whose shape
    begins behind the warm-up: 0.98 and 0.92 of `learning_rate` with a warm-up of a tenth of the steps, 0.83 and 0.74 of
    three tenths, 0.57 and 0.56 of half of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["cosine", "linear", "constant", "wsd"] | None = Field(
        default=None, description="how the rate goes from the first step on, which the warm-up multiplies, so that "
                                  "cosine and linear do not reach learning_rate: 0.98 and 0.92 of it with a warm-up of "
                                  "a tenth of the steps, 0.83 and 0.74 of three tenths; cosine where it is left out, "
                                  "in grpo and on_policy constant"
    )
    warmup: Probability | None = Field(
        default=None,
        description="share of the steps in which the rate rises to that of the shape; or give warmup_steps"
    )
    warmup_steps: int | None = Field(
        default=None, ge=0, le=MOST_STEPS, json_schema_extra={"unit": "steps"},
        description="steps in which the rate rises to that of the shape; where both are left out a few, by the kind "
                    "of the stage"
    )
    floor: Probability | None = Field(
        default=None, description="share of learning_rate that the rate ends at; 0.1 where it is left out, of wsd 0"
    )
    decay: Probability | None = Field(
        default=None, description="of wsd: share of the steps in which the rate falls; 0.2 where it is left out"
    )

    @model_validator(mode="after")
    def _check_warmup(self) -> "RateSchedule":
        if self.warmup is not None and self.warmup_steps is not None:
            raise ValueError("warmup is a share of the steps and warmup_steps their number; give one of them")
        return self

    @model_validator(mode="after")
    def _check_shape(self) -> "RateSchedule":
        if self.decay is not None and self.shape != "wsd":
            raise ValueError(f"decay is of shape wsd, and shape is {self.shape or 'left out'}: leave it out")
        if self.floor is not None and self.shape == "constant":
            raise ValueError("the rate of a constant shape does not fall: leave floor out")
        return self


class Learning(BaseModel):
    """The fields of a stage that trains: `class Sft(Learning, Stage)`.

    What is left out depends on where the model comes from: one that `pretrain` made here is small and learns at rates
    that would ruin one that somebody trained for weeks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: LearningRate | None = Field(
        default=None,
        description="the learning rate that schedule multiplies, with muon that of matrices; by the model's origin "
                    "where it is left out"
    )
    adam_learning_rate: LearningRate | None = Field(
        default=None, description="with muon: the learning rate of all but matrices, which AdamW trains"
    )
    optimizer: Optimizer = Field(default=Optimizer(), description="which optimizer, and its constants")
    schedule: RateSchedule = Field(default=RateSchedule(), description="how the learning rate goes over the stage")
    max_grad_norm: float = Field(
        default=1.0, gt=0, le=1e6, description="gradients of a larger norm are scaled down to this one"
    )
    micro_batch_tokens: Annotated[int | None, NotInFingerprint(of_checkpoints=True)] = Field(
        default=None, ge=1, le=10**9, json_schema_extra={"unit": "tokens"},
        description="most tokens of a forward and its backward, of one process; a batch with more is split, and its "
                    "gradients are added up. Estimated from the model's size where it is left out"
    )
    gradient_checkpointing: Annotated[bool, NotInFingerprint(of_checkpoints=True)] = Field(
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

    def require_fits_adapters(self) -> None:
        """Raises ValueError where the fields are not for a training of adapters alone."""
        if self.optimizer.name == "muon" or self.adam_learning_rate is not None:
            said = "adam_learning_rate" if self.adam_learning_rate is not None else "optimizer muon"
            raise ValueError(f"{said} is for a model's own matrices, and lora trains others beside them: leave it or "
                             "lora out; adapters learn by adamw at learning_rate")

    @model_validator(mode="after")
    def _check_rates(self) -> "Learning":
        if self.adam_learning_rate is not None and self.optimizer.name not in (None, "muon"):
            raise ValueError(f"adam_learning_rate is what muon takes beside its own; {self.optimizer.name} has "
                             "learning_rate alone")
        return self
