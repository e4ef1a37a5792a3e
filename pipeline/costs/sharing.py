"""How several processes share a model, by the accelerate config of a recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.recipe import accelerate_config

Kind = Literal["alone", "DDP", "FSDP2", "ZeRO-2", "ZeRO-3"]


@dataclass(frozen=True)
class Sharing:
    """`processes` share a step's rows; of what each holds of weights, gradients and optimizer the kind decides."""

    kind: Kind = "alone"
    processes: int = 1

    @property
    def weights(self) -> int:
        """By how many the weights are divided; so are the others."""
        return self.processes if self.parted else 1

    @property
    def gradients(self) -> int:
        return self.processes if self.collective else 1

    @property
    def optimizer(self) -> int:
        return self.gradients

    @property
    def collective(self) -> bool:
        """Whether processes run their forwards together (`training/base_trainer.py`)."""
        return self.kind not in ("alone", "DDP")

    @property
    def parted(self) -> bool:
        """Whether the weights lie in parts, so that rollouts are drawn from a whole copy of them."""
        return self.kind in ("FSDP2", "ZeRO-3")

    def __str__(self) -> str:
        return "one process" if self.kind == "alone" else f"{self.kind} over {self.processes}"


ALONE = Sharing()


def sharing_of(accelerate: Path | None) -> Sharing:
    """What the config asks for; one process where a recipe has none."""
    if accelerate is None:
        return ALONE
    asked = accelerate_config.read(accelerate)
    if asked.kind == "FSDP":
        return Sharing("FSDP2", asked.processes)
    if asked.collective:
        return Sharing("ZeRO-3" if asked.parted else "ZeRO-2", asked.processes)
    return Sharing("DDP", asked.processes) if asked.processes > 1 else ALONE
