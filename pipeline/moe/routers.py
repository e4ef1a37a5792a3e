"""Finding the routers of a model, in the families that Retort knows."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

# model_type -> (name of the router inside a layer's mlp, place of the chosen experts in its output)
FAMILIES = {"deepseek_v3": ("gate", 2), "qwen3_moe": ("gate", 2)}
DENSE = ("qwen3", "qwen2", "llama", "mistral")


class UnknownFamilyError(Exception):
    """The model has experts, or may have, in a way that is not known here."""


@dataclass(frozen=True)
class Router:
    """One layer's router: its module, and how many experts it chooses among."""

    layer: int
    module: nn.Module
    experts: int
    chosen_at: int

    def chosen(self, output: Any) -> Tensor:
        """The chosen experts in what the module returned, [tokens, top_k]."""
        found: Tensor = output[self.chosen_at]
        return found


def routers(model: Any) -> list[Router]:
    """The routers of a model, one a MoE layer; none for a dense model. Raises UnknownFamilyError."""
    family = model.config.model_type
    if family in DENSE:
        return []
    if family not in FAMILIES:
        raise UnknownFamilyError(f"no routers are known for {family!r} models; known: {', '.join([*FAMILIES, *DENSE])}")
    name, chosen_at = FAMILIES[family]
    found = []
    for index, layer in enumerate(model.model.layers):
        gate = dict(layer.mlp.named_children()).get(name)
        if gate is not None and "weight" in dict(gate.named_parameters(recurse=False)):
            found.append(Router(index, gate, gate.weight.shape[0], chosen_at))
    return found
