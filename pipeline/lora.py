"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) through peft, on linear layers and on fused experts."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline import processes
from pipeline.stage import Context

EXPERTS = ("gate_up_proj", "down_proj")
"""Parameters of a transformers MoE layer that hold the matrices of all its experts, [experts, out, in]."""


class Lora(BaseModel):
    """An adapter of `rank` on every linear layer, or on those whose names end as in `targets`; `experts` adds the fused experts,
    which are parameters and no layers (peft's `target_parameters`). The update is scaled by `alpha` / `rank`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    targets: list[str] | Literal["all-linear"] = "all-linear"
    experts: bool = True


@contextlib.contextmanager
def adapted(model: Any, lora: Lora | None, ctx: Context, base: str) -> Iterator[None]:
    """Give the model's layers adapters, in place, for as long as this lasts; its own weights are frozen then.

    At the end the adapters are saved as peft does, under `ctx.out`/adapter, and added to the weights. `base` is what they say
    they belong to. With no `lora` nothing happens.
    """
    if lora is None:
        yield
        return
    wrapped = add(model, lora, ctx.seed)
    yield
    wrapped.active_peft_config.base_model_name_or_path = base
    if processes.is_first():
        wrapped.save_pretrained(ctx.out / "adapter")
    wrapped.merge_and_unload()


def add(model: Any, lora: Lora, seed: int) -> Any:
    """A peft model around `model`. The half of the adapters that is not zero is drawn from `seed`."""
    import torch
    from peft import LoraConfig, get_peft_model

    fused = [name for name, parameter in model.named_parameters() if parameter.ndim == 3 and name.endswith(EXPERTS)]
    torch.manual_seed(seed)
    return get_peft_model(model, LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=lora.targets,
        target_parameters=fused if lora.experts and fused else None,
        task_type="CAUSAL_LM",
    ))
