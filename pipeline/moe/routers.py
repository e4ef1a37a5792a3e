"""Finding the routers of a model, and reading what they do, in the families that Retort knows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True)
class Family:
    """Where a family of transformers keeps its MoE: the `block` inside each of `layers`, and the `router` inside that block.

    Beside the router every block has `experts`, a module called with hidden states, chosen experts and their weights. `grouped`
    says whether transformers can run them all in one grouped multiplication.
    """

    block: str = "mlp"
    router: str = "gate"
    layers: str = "model.layers"
    grouped: bool = True


FAMILIES = {
    "mixtral": Family(),
    "qwen2_moe": Family(),
    "qwen3_moe": Family(),  # with decoder_sparse_step k also OpenMoE's style: a MoE layer every k-th layer
    "olmoe": Family(),
    "deepseek_v2": Family(),
    "deepseek_v3": Family(),
    "gpt_oss": Family(router="router"),
    "dbrx": Family("ffn", "router", "transformer.blocks", grouped=False),
}
"""By `model_type`. Switch itself is left out: it is an encoder and decoder, which no stage trains."""


class UnknownFamilyError(Exception):
    """The model has experts in a way that is not known here."""


@dataclass(frozen=True)
class Routing:
    """What a router did with the tokens of one forward: logits [tokens, experts], before any bias or softmax; the experts chosen
    and their weights in the sum, both [tokens, top_k]."""

    logits: Tensor
    chosen: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Router:
    """The router of one layer. `module` computes the logits, `users` are the experts that take what was chosen."""

    layer: int
    module: nn.Module
    users: nn.Module
    experts: int

    @property
    def bias(self) -> Tensor | None:
        """DeepSeek-V3's selection bias [experts], which is moved and not trained; other families have none."""
        return dict(self.module.named_buffers(recurse=False)).get("e_score_correction_bias")

    def watch(self, seen: Callable[[Routing], None]) -> list[RemovableHandle]:
        """Call `seen` with the routing of every forward until the handles are removed."""
        logits: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            logits[:] = [output if isinstance(output, Tensor) else output[0]]

        def tell(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            _hidden, chosen, weights = inputs
            seen(Routing(logits.pop(), chosen, weights))

        return [self.module.register_forward_hook(keep), self.users.register_forward_pre_hook(tell)]


def routers(model: Any) -> list[Router]:
    """The routers of a model, one a MoE layer; none for a dense model. Raises UnknownFamilyError."""
    name = model.config.model_type
    if name not in FAMILIES:
        _refuse_experts(model, name)
        return []
    family = FAMILIES[name]
    found = []
    for index, layer in enumerate(model.get_submodule(family.layers)):
        parts = dict(layer.get_submodule(family.block).named_children())
        if "experts" in parts:
            weight = next(parts[family.router].parameters())
            found.append(Router(index, parts[family.router], parts["experts"], weight.shape[0]))
    return found


def _refuse_experts(model: nn.Module, family: str) -> None:
    for name, _ in model.named_modules():
        if "expert" in name or "router" in name:
            raise UnknownFamilyError(
                f"{family!r} models have experts ({name}), and where their routers are is not known; known families: "
                f"{', '.join(FAMILIES)}"
            )
