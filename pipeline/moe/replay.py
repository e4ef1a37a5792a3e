"""Routing replay: training takes the experts that the rollout took (arXiv 2510.11370)."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from eval.language_model import LanguageModel
from pipeline.moe.routers import Router, Routing, routers

OWN = -1  # where nothing was recorded: padding, and the last token, which no rollout feeds back


class Replay:
    """Replays recorded experts in the forwards of a model, and counts the tokens whose experts would have been others.

    The scores stay live: the weights of the replayed experts come from the logits of the moment, so that gradients
    reach the router (section 3 of the paper). A token whose experts are the router's own keeps its weights bit for bit.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.routers = routers(model)
        self._recorded: list[Tensor] | None = None
        self._differing: Tensor | None = None
        # since `differing` was last asked: all, and those with other experts than replayed
        self.tokens = self.others = 0
        self._handles = [
            handle
            for place, router in enumerate(self.routers) for handle in router.reroute(self._replay(place, router))
        ]

    @property
    def modules(self) -> list[nn.Module]:
        """The experts' modules, whose choices an engine is to record."""
        return [router.users for router in self.routers]

    @contextlib.contextmanager
    def of(self, recorded: Tensor) -> Iterator[None]:
        """Forwards of a batch [rows, seq] take `recorded` [rows, seq, layers, top_k] as long as this lasts; OWN leaves
        the choice."""
        flat = recorded.flatten(0, 1)  # [rows * seq, layers, top_k]
        self._recorded = [flat[:, place].long() for place in range(len(self.routers))]
        self._differing = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
        yield
        # Forwards that measure are not counted, only those that train.
        if torch.is_grad_enabled():
            self.tokens += int((flat[:, 0, 0] != OWN).sum())
            self.others += int(self._differing.sum())
        self._recorded = self._differing = None

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """Forwards replay, and are not counted for as long as this lasts."""
        before = self.tokens, self.others
        yield
        self.tokens, self.others = before

    def again(self) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """For layers that are computed again in the backward: see training/layers/recomputation.py."""
        recorded = self._recorded

        @contextlib.contextmanager
        def replayed() -> Iterator[None]:
            before = self._recorded, self._differing
            if recorded is not None:
                self._recorded = recorded
                self._differing = torch.zeros(len(recorded[0]), dtype=torch.bool, device=recorded[0].device)
            else:
                self._recorded = self._differing = None
            try:
                yield
            finally:  # torch leaves a layer by an exception when it has all that it needs
                self._recorded, self._differing = before

        return replayed

    def _replay(self, place: int, router: Router) -> Callable[[Routing], Routing | None]:
        def replay(own: Routing) -> Routing | None:
            if self._recorded is None or self._differing is None:
                return None
            wanted = self._recorded[place]
            # As sets: the order in which a router lists its choices says nothing.
            same = (wanted.unsqueeze(-1) == own.chosen.unsqueeze(-2)).any(dim=-1).all(dim=-1)
            other = ~same & (wanted[:, 0] != OWN)
            # Most forwards take the same experts, and then nothing has to be weighed anew.
            if not other.any():
                return None
            self._differing |= other
            chosen = torch.where(other[:, None], wanted, own.chosen)
            # The experts are the rollout's, their weights those of the training's logits, which have the gradient.
            weights = router.gating.weights(own.logits, chosen).to(own.weights.dtype)
            return Routing(own.logits, chosen, torch.where(other[:, None], weights, own.weights))

        return replay

    def counted(self) -> tuple[int, int]:
        """How many tokens, since it was last asked, had other experts in some layer than their router would have taken,
        and of how many."""
        found = self.others, self.tokens
        self.tokens = self.others = 0
        return found

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def padded(recorded: Sequence[Tensor], prompts: Sequence[int], prompt: int, completion: int) -> tuple[Tensor, Tensor]:
    """Recorded experts [tokens, layers, top_k] of rows with prompts of these lengths, as a GRPO batch has its tokens:
    prompts padded on the left to `prompt` tokens and completions on the right to `completion`. Both are [rows, tokens,
    layers, top_k]."""
    before = torch.full((len(recorded), prompt, *recorded[0].shape[1:]), OWN, dtype=torch.int16)
    after = torch.full((len(recorded), completion, *recorded[0].shape[1:]), OWN, dtype=torch.int16)
    for row, (experts, length) in enumerate(zip(recorded, prompts, strict=True)):
        # Prompts are padded on the left, completions on the right.
        before[row, prompt - length :] = experts[:length]
        after[row, : len(experts) - length] = experts[length:]
    return before, after


def divergence(trained: Tensor, sampled: Tensor, mask: Tensor) -> float:
    """The KL divergence of the trained model from the one that sampled, a token: the mean of exp(r) - 1 - r, with r the
    first's log-probability less the second's, over tokens where mask is set; all [rows, tokens] (Schulman 2020,
    estimator k3)."""
    ratio = (trained - sampled)[mask.bool()]
    return float((ratio.exp() - 1 - ratio).mean())
