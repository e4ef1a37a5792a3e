"""The recipe fields that say how experts are kept in even use; the same in every stage that trains."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contract.numbers import Weight


class Balancing(BaseModel):
    """How the load of experts is kept even. What is left out is as the family's makers trained it; 0 switches off.

    The losses are weights of what `losses.py` computes for every MoE layer, averaged over layers and added to the loss
    that is trained. `capacity` is Switch's capacity factor: a token's choice of an expert that is full is dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bias_speed: float | None = Field(
        default=None, ge=0, le=1, description="gamma of DeepSeek-V3's bias update, a step of the optimizer"
    )
    importance: Weight | None = Field(default=None, description="weight of the importance loss (Shazeer 2017)")
    smooth_load: Weight | None = Field(
        default=None, description="weight of the loss on a smooth estimate of the load (Shazeer 2017)"
    )
    noise: float | None = Field(
        default=None, gt=0, le=100, description="standard deviation of the noise on logits, for `smooth_load`"
    )
    load: Weight | None = Field(default=None, description="weight of the load-balancing loss (Switch)")
    z: Weight | None = Field(default=None, description="weight of the router z-loss (ST-MoE)")
    sequence: Weight | None = Field(
        default=None, description="weight of the sequence-wise loss (DeepSeek-V2, -V3)"
    )
    device: Weight | None = Field(default=None, description="weight of the device-level loss (DeepSeek-V2)")
    communication: Weight | None = Field(
        default=None, description="weight of the communication loss (DeepSeek-V2)"
    )
    devices: int | None = Field(
        default=None, ge=2, le=65_536, description="groups of neighbouring experts, for `device` and `communication`"
    )
    capacity: float | None = Field(
        default=None, ge=0, le=1000, description="capacity factor in training; ST-MoE's is 1.25"
    )
    capacity_evaluation: float = Field(
        default=2.0, ge=0, le=1000, description="capacity factor outside of training, where there is one in it"
    )

    @model_validator(mode="after")
    def _check_devices(self) -> "Balancing":
        if bool(self.device or self.communication) != (self.devices is not None):
            raise ValueError("`device` or `communication` and `devices` need each other: a weight, and how many "
                             "devices hold the experts")
        return self

    @model_validator(mode="after")
    def _check_noise(self) -> "Balancing":
        if bool(self.smooth_load) != (self.noise is not None):
            raise ValueError("`smooth_load` and `noise` need each other: a weight, and the standard deviation of a "
                             "router's noise (V-MoE's is 1 / experts)")
        return self

    def wanted(self) -> list[str]:
        """The ways of balancing that are asked for by name, in the order of the fields."""
        names = (
            "bias_speed", "importance", "smooth_load", "load", "z", "sequence", "device", "communication", "capacity"
        )
        return [name for name in names if getattr(self, name)]

    def over(self, other: "Balancing") -> "Balancing":
        """What is set here, and `other` where nothing is."""
        # What was written in the recipe counts, a 0 too; what was left out is the family's.
        return other.model_copy(
            update={name: getattr(self, name) for name in self.model_fields_set if getattr(self, name) is not None}
        )


NOT_ADAPTED = "balance.bias_speed: an adapter cannot hold the routers' bias; leave it or lora out"
"""Said before a run and by `moe.balance`."""

BalanceSection = Annotated[Balancing, Field(
    description="how a mixture's experts are kept in even use; as its makers did where it is left out"
)]
