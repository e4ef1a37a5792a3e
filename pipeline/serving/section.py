"""What a recipe says of vLLM, and whether it is there."""

import importlib.util
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval.vllm.process import Serving
from pipeline.contract.fields import NotInFingerprint
from pipeline.contract.work import ByVllm, Where
from pipeline.serving.speculation import Speculate
from rewards.lazy import lazy

with lazy:
    import torch


FOR_ONE = "python starts a server for one process; for several start one by retort serve-rollouts, and give its url"
"""What of a `vllm` section of `grpo` several processes cannot share."""


class Vllm(BaseModel):
    """Where vLLM is: a server at `url`, which `retort serve-rollouts` has started; a server that the stage itself
    starts with the interpreter `python` of another environment; or, with neither, the training's own processes (`grpo`
    alone, through trl, with vLLM in the same environment)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(default=None, pattern=r"^https?://", description="address of a server, http://localhost:8000")
    python: str | None = Field(
        default=None, min_length=1,
        description="interpreter of an environment with vLLM, /opt/vllm/bin/python; starts a server"
    )
    devices: str | None = Field(
        default=None, description="CUDA_VISIBLE_DEVICES of a server that is started; the stage's where it is left out"
    )
    gpu_memory: float = Field(
        default=0.3, gt=0, le=1, description="share of a GPU's memory that vLLM takes, where it is started"
    )
    tensor_parallel: int = Field(
        default=1, ge=1, le=1024, description="GPUs that vLLM is split over, where it is started"
    )
    most_divergence: float = Field(
        default=0.05, gt=0, description="KL divergence a token between vLLM and the policy at which the stage stops"
    )

    @property
    def served(self) -> bool:
        """Whether it is a server, and not in the training's processes."""
        return self.url is not None or self.python is not None

    @model_validator(mode="after")
    def _check(self) -> "Vllm":
        if self.url and self.python:
            raise ValueError("a server is at url, or started by python: leave one of them out")
        if self.devices and not self.python:
            raise ValueError("devices are those of a server that the stage starts: give python, or leave devices out")
        return self

    def serving(self, dtype: str, experts: bool) -> Serving:
        """How a server that the stage starts is started."""
        assert self.python is not None
        return Serving(self.python, dtype, self.gpu_memory, self.tensor_parallel, experts, self.devices,
                       on_processors=self.devices is None and not torch.cuda.is_available())


class Engines(BaseModel):
    """The fields of a stage whose completions may come from vLLM."""

    engine: Literal["native", "vllm"] = Field(
        default="native", description="what draws; what vllm draws is not drawn again in every bit"
    )
    # Where it is and how much of a GPU it takes; that it draws is in the fingerprint.
    vllm: Annotated[Vllm, NotInFingerprint()] = Field(
        default=Vllm(), description="where vLLM is, for engine: vllm; changes no fingerprint"
    )
    speculate: Speculate = Field(
        default="off",
        description="draft tokens, by lookup in the text or by the model's MTP module, and read several at once; what "
                    "is drawn stays the same but for rounding"
    )

    @property
    def by_vllm(self) -> ByVllm | None:
        """Where vLLM draws, and on what; None where it does not."""
        if self.engine == "native":
            return None
        where: Where = "started" if self.vllm.python else "given" if self.vllm.url else "inside"
        elsewhere = self.vllm.url or self.vllm.devices
        return ByVllm(where, self.vllm.tensor_parallel, 0.0 if elsewhere else self.vllm.gpu_memory)

    @model_validator(mode="after")
    def _check_vllm(self) -> "Engines":
        if self.engine == "native" and self.vllm != Vllm():
            raise ValueError("a vllm section is for engine: vllm")
        if self.engine == "vllm" and self.speculate != "off":
            raise ValueError("speculate is for engine: native; vLLM's own speculation is not set up here")
        return self


class ServedEngines(Engines):
    """The same for stages that ask models which stay as they are: their vLLM is a server."""

    @model_validator(mode="after")
    def _check_served(self) -> "ServedEngines":
        if self.engine == "vllm" and not self.vllm.served:
            raise ValueError("engine vllm needs a server: vllm: {python: /opt/vllm/bin/python}, or {url: ...}")
        return self


def missing() -> str | None:
    """Why vLLM cannot run in the training's processes, or None where it is installed."""
    if importlib.util.find_spec("vllm") is None:
        return ("engine vllm without url or python runs vLLM in the training's processes, and the package vllm is not "
                "installed: give a server, or leave engine out")
    return None
