"""Finding the routers of a model, reading what they do, and choosing in their stead, in the families that Retort
knows."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.moe.families import FAMILIES
from pipeline.moe.gating import Gating


class UnknownFamilyError(StageError):
    """The model has experts in a way that is not known here."""


@dataclass(frozen=True)
class Routing:
    """What a router did with the tokens of one forward: logits [tokens, experts], before any bias or softmax; the
    experts chosen and their weights in the sum, both [tokens, top_k]."""

    logits: Tensor
    chosen: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Router:
    """The router of one layer. `module` computes the logits, `users` are the experts that take what was chosen.

    A layer whose every expert is used (top_k = experts, a dense-gated layer) is the simplest case of one that chooses.
    `groups` is (how many groups of neighbouring experts there are, of how many of them a token may take experts), where
    that is limited.
    """

    layer: int
    module: nn.Module
    users: nn.Module
    experts: int
    top_k: int
    gating: Gating
    groups: tuple[int, int] | None

    @property
    def bias(self) -> Tensor | None:
        """DeepSeek-V3's selection bias [experts], which is moved and not trained; other families have none."""
        return dict(self.module.named_buffers(recurse=False)).get("e_score_correction_bias")

    def watch(self, seen: Callable[[Routing], None]) -> list[RemovableHandle]:
        """Call `seen` with the routing of every forward until the handles are removed."""
        return self._hook(seen, first=False)

    def reroute(self, choose: Callable[[Routing], Routing | None]) -> list[RemovableHandle]:
        """Let the experts take the routing that `choose` returns for the router's own, where it is not None.

        Who watches sees what was taken.
        """
        return self._hook(choose, first=True)

    def _hook(self, choose: Callable[[Routing], Routing | None], first: bool) -> list[RemovableHandle]:
        logits: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            # Routers return logits alone or first of several; they are kept until the experts are called.
            logits[:] = [output if isinstance(output, Tensor) else output[0]]

        def tell(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            hidden, chosen, weights = inputs
            # Popped, so that no layer can be given the logits of another.
            taken = choose(Routing(logits.pop(), chosen, weights))
            return None if taken is None else (hidden, taken.chosen, taken.weights)

        return [self.module.register_forward_hook(keep), self.users.register_forward_pre_hook(tell, prepend=first)]


def routers(model: LanguageModel) -> list[Router]:
    """The routers of a model, one a MoE layer; none for a dense model. Raises UnknownFamilyError."""
    name = model.config.model_type
    if name not in FAMILIES:
        _refuse_experts(model, name)
        return []
    family = FAMILIES[name]
    found = []
    for index, layer in enumerate(model.get_submodule(family.layers).children()):
        parts = dict(layer.get_submodule(family.block).named_children())
        # Dense layers among the others have a feed-forward block without experts.
        if "experts" in parts:
            # The router's weight is [experts, hidden], however the config calls their number.
            experts = next(parts[family.router].parameters()).shape[0]
            settings = family.top_k(model.config), family.gating(model.config), family.groups(model.config)
            found.append(Router(index, parts[family.router], parts["experts"], experts, *settings))
    return found


def _refuse_experts(model: LanguageModel, family: str) -> None:
    for name, _ in model.named_modules():
        if "expert" in name or "router" in name:
            raise UnknownFamilyError(
                f"{family!r} models have experts ({name}), and where their routers are is not known; known families: "
                f"{', '.join(FAMILIES)}"
            )
