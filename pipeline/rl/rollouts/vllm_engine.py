"""Rollouts of GRPO by vLLM, through trl's own modes."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval.engine.types import Request, Sampled, Sampling, Written


class Vllm(BaseModel):
    """How trl runs vLLM: in the training's own processes, or as a server that was started beside it (`trl vllm-serve`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["colocate", "server"] = "colocate"
    url: str | None = Field(default=None, description="of the server, such as http://localhost:8000")
    gpu_memory: float = Field(default=0.3, gt=0, le=1, description="share of a GPU's memory that a colocated vLLM takes")
    tensor_parallel: int = Field(default=1, ge=1, description="GPUs that a colocated vLLM is split over")

    @model_validator(mode="after")
    def _check(self) -> "Vllm":
        if (self.url is not None) != (self.mode == "server"):
            raise ValueError("mode server needs a url" if self.url is None else "a url is for mode: server")
        return self

    def options(self) -> dict[str, Any]:
        """What of GRPOConfig this sets."""
        return {"use_vllm": True, "vllm_mode": self.mode, "vllm_server_base_url": self.url,
                "vllm_gpu_memory_utilization": self.gpu_memory, "vllm_tensor_parallel_size": self.tensor_parallel}


def missing() -> str | None:
    """Why vLLM cannot be used here, or None where it is installed."""
    if importlib.util.find_spec("vllm") is None:
        return "engine vllm needs the package vllm, which is not installed: pip install 'trl[vllm]', or leave engine out"
    return None


class VllmEngine:
    """The rollouts of a GRPOTrainer with `use_vllm`, whose weights vLLM gets before the first ones of a step.

    vLLM draws by itself: seeds are only counted, `Sampling` has to be what the trainer was configured with, and a run that is resumed
    is not the run that was left alone. Experts are not recorded. Each request has to have a whole group of seeds.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def sample(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        written: Written | None = None,
    ) -> list[list[Sampled]]:
        trainer, generation = self.trainer, self.trainer.vllm_generation
        if trainer.state.global_step != trainer._last_loaded_step:
            generation.sync_weights()
            trainer._last_loaded_step = trainer.state.global_step
        prompts = [list(request.prompt) for request in requests for _ in request.seeds]
        _, completions, logprobs, _ = generation.generate(prompts=prompts, images=None, num_generations=trainer.num_generations)
        eos = trainer.processing_class.eos_token_id
        ordered = iter([
            # of the log-probabilities of each token the drawn one's is first; None where vLLM has none
            Sampled(list(ids), [float("nan") if most[0] is None else most[0] for most in values], ids[-1] == eos)
            for ids, values in zip(completions, logprobs, strict=True)
        ])
        groups = [[next(ordered) for _ in request.seeds] for request in requests]
        for place, group in enumerate(groups):
            for index, one in enumerate(group):
                if written:
                    written(place, index, one)
        if progress:
            progress(len(prompts), len(prompts))
        return groups
