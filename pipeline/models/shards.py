"""Models whose parameters lie in parts on several processes: as FSDP2 cuts them (torch's `fully_shard`; Zhao et al.
2023, arXiv 2304.11277, by parameter and not by flat buffers), or as DeepSpeed's ZeRO-3 does (Rajbhandari et al. 2020,
arXiv 1910.02054, section 5.3)."""

import contextlib
import sys
from collections.abc import Iterator
from typing import cast

from eval.language_model import LanguageModel
from pipeline.contract import processes
from rewards.lazy import lazy

with lazy:
    from torch import Tensor, nn
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor
    from transformers.integrations import deepspeed


def sharded(model: LanguageModel) -> bool:
    """Whether parameters of the model are in parts. A model is cut in place, when its training begins."""
    if isinstance(model, FSDPModule):
        return True
    return "deepspeed" in sys.modules and any(_is_zero(parameter) for parameter in model.parameters())


def class_of(model: LanguageModel) -> type[LanguageModel]:
    """The model's class as it was before FSDP2 cut it, which gave it a subclass made for it."""
    return cast(type[LanguageModel], next(one for one in type(model).__mro__ if not issubclass(one, FSDPModule)))


def whole(tensor: "Tensor") -> "Tensor":
    """A parameter or buffer put together from its parts; all processes call it together. Itself where it has none."""
    if isinstance(tensor, DTensor):
        return tensor.full_tensor()
    if _is_zero(tensor):
        with sys.modules["deepspeed"].zero.GatheredParameters([tensor]):
            return tensor.detach().clone()
    return tensor


def numbers(parameter: "nn.Parameter") -> int:
    """How many numbers a parameter has on all processes together."""
    return int(parameter.ds_numel if _is_zero(parameter) else parameter.numel())  # type: ignore[attr-defined]


def whole_state(model: LanguageModel, part: str = "") -> "dict[str, Tensor]":
    """The model's state dict, or the tensors with `part` in their names; where the model is sharded it is put together
    on the first process, tensor by tensor, and empty on the others. All processes call it together."""
    own = {name: value for name, value in model.state_dict(keep_vars=True).items() if part in name}
    if not sharded(model):
        return {name: value.detach() for name, value in own.items()}
    found: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, value in own.items():
        # A tied tensor stands under two names, and stays one.
        if id(value) not in found:
            together = whole(value).detach()
            found[id(value)] = together.cpu() if processes.is_first() else together.new_empty(0)
        state[name] = found[id(value)]
    return state if processes.is_first() else {}


@contextlib.contextmanager
def built_whole() -> Iterator[None]:
    """While this lasts transformers builds models whole. Once a training has read a ZeRO-3 config, it would cut every
    model that is made, copies and loaded files too."""
    known = deepspeed._hf_deepspeed_config_weak_ref
    config = known() if known else None
    if config is None:
        yield
        return
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed.set_hf_deepspeed_config(config)


def _is_zero(tensor: "Tensor | nn.Parameter") -> bool:
    if "deepspeed" not in sys.modules:
        return False
    return bool(sys.modules["deepspeed"].runtime.zero.partition_parameters.is_zero_param(tensor))
