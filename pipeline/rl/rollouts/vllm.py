"""What a recipe says of vLLM, and whether it is there. The engine itself is in `vllm_engine.py`, which loads heavy
libraries."""

import importlib.util
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Vllm(BaseModel):
    """How trl runs vLLM: in the training's own processes, or as a server that was started beside it (`trl
    vllm-serve`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["colocate", "server"] = "colocate"
    url: str | None = Field(default=None, description="of the server, such as http://localhost:8000")
    gpu_memory: float = Field(
        default=0.3, gt=0, le=1, description="share of a GPU's memory that a colocated vLLM takes"
    )
    tensor_parallel: int = Field(default=1, ge=1, le=1024, description="GPUs that a colocated vLLM is split over")

    @model_validator(mode="after")
    def _check(self) -> "Vllm":
        if (self.url is not None) != (self.mode == "server"):
            raise ValueError("mode server needs a url" if self.url is None else "a url is for mode: server")
        return self


def missing() -> str | None:
    """Why vLLM cannot be used here, or None where it is installed."""
    if importlib.util.find_spec("vllm") is None:
        return ("engine vllm needs the package vllm, which is not installed: pip install 'trl[vllm]', or leave engine "
                "out")
    return None
