"""The layers of a model that compute in eight bits, and putting another arithmetic in the place of theirs."""

from collections.abc import Callable, Sequence
from typing import Any  # experts of transformers have no class in common

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.models.lora import NOT_CALLED
from pipeline.moe.families import FAMILIES
from pipeline.moe.routers import routers

Arithmetic = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""Of rows [rows, inner], groups of so many neighbours, and weights [groups, outer, inner], all in fp32: each group
times its matrix transposed, [rows, outer]."""

_EXACT = (".shared_expert_gate", NOT_CALLED)
"""Linear layers that stay as they are by their names: a gate of Qwen2's, and Mamba's whose weight is used otherwise."""


def replace(model: LanguageModel, arithmetic: Arithmetic) -> list[nn.Module]:
    """Give the model's linear layers and experts this arithmetic in forwards that have gradients; returns them, of
    which `del layer.forward` makes what they were. Forwards without gradients, of probes and rollouts, stay as they
    are.

    As in DeepSeek-V3 (section 3.3.1) routers, the head, embeddings, norms and attention's own products stay, too.
    Raises StageError for a family whose experts, or other layers, are not known here.
    """
    require_known(model.config.model_type)
    if any(isinstance(part, Conv1D) for part in model.modules()):
        raise StageError(f"fp8: {model.config.model_type} multiplies by what torch does not take for linear layers, "
                         "and would train in full precision; leave fp8 out")
    found = routers(model)
    experts = [router.users for router in found]
    exact = {model.get_output_embeddings(), *(part for router in found for part in router.module.modules())}
    linear = [part for name, part in model.named_modules()
              if isinstance(part, nn.Linear) and part not in exact and not name.endswith(_EXACT)]
    for layer in linear:
        layer.forward = _linear(layer, arithmetic)  # type: ignore[method-assign, assignment]
    for part in experts:
        part.forward = _experts(part, arithmetic)
    return [*linear, *experts]


def require_known(model_type: str) -> None:
    """Raise StageError for a family whose experts are not known in eight bits."""
    family = FAMILIES.get(model_type)
    if family and not family.grouped:
        raise StageError(f"fp8: how {model_type} keeps its experts is not known in eight bits; leave fp8 out")


def _linear(layer: nn.Linear, arithmetic: Arithmetic) -> Callable[[Tensor], Tensor]:
    before = layer.forward

    def forward(inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return before(inputs)
        rows = inputs.reshape(-1, inputs.shape[-1])
        made = _computed(arithmetic, rows, layer.weight.unsqueeze(0), [len(rows)])
        made = made.view(*inputs.shape[:-1], made.shape[-1])
        return made if layer.bias is None else made + layer.bias.to(made.dtype)

    return forward


def _experts(part: Any, arithmetic: Arithmetic) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Experts that transformers fuses, as its `grouped_mm` computes them: rows are sorted by their experts."""
    before = part.forward

    def forward(hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            found: Tensor = before(hidden, chosen, weights)
            return found
        tokens, top_k = chosen.shape
        of_rows, order = chosen.flatten().sort(stable=True)
        counts = of_rows.bincount(minlength=part.num_experts).tolist()
        made = part._apply_gate(product("gate_up_proj", hidden[order // top_k], of_rows, counts))
        made = product("down_proj", made, of_rows, counts) * weights.flatten()[order].unsqueeze(1)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return made[back].view(tokens, top_k, -1).sum(dim=1).to(hidden.dtype)

    def product(name: str, rows: Tensor, of_rows: Tensor, counts: Sequence[int]) -> Tensor:
        weight = part.get_parameter(name)
        made = _computed(arithmetic, rows, weight.mT if part.is_transposed else weight, counts)
        return made + part.get_parameter(f"{name}_bias")[of_rows].to(made.dtype) if part.has_bias else made

    return forward


def _computed(arithmetic: Arithmetic, rows: Tensor, weight: Tensor, counts: Sequence[int]) -> Tensor:
    """In fp32, and then in what autocast would have made of it."""
    device = rows.device.type
    wanted = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else rows.dtype
    with torch.autocast(device, enabled=False):
        return arithmetic(rows.float(), weight.float(), counts).to(wanted)
