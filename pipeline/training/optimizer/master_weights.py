"""Training of weights in half precision through copies in full precision (Micikevicius et al. 2018, arXiv 1710.03740,
section 3.1)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from pipeline.disk.durable import JsonObject

HALVES = (torch.bfloat16, torch.float16)

AT_ONCE = 2**26
"""Numbers of gradients that are in fp32 at a time: a quarter of a GiB."""


class MasterWeights(Optimizer):
    """An optimizer whose parameters in half precision are moved through fp32 copies, which are part of its state.

    A learning rate of 1e-6 moves a weight by less than bfloat16 resolves, so without copies nothing is learned and
    nothing complains: Trainer's `bf16` is autocast alone and makes none (trl #6005). Gradients are made fp32 at each
    step; parameters that are fp32 are left to `inner`. Loss scaling for float16 is left out: models are trained in
    bfloat16, whose range is that of fp32.
    """

    def __init__(self, inner: Optimizer) -> None:
        self.inner = inner
        self.trained: list[list[Tensor]] = [list(group["params"]) for group in inner.param_groups]
        super().__init__([{**group} for group in inner.param_groups], dict(inner.defaults))
        # the same dicts, so that a schedule of either is one of both
        self.param_groups, self.state = inner.param_groups, inner.state
        self._copied = False

    def copies(self) -> list[tuple[Tensor, Tensor]]:
        """(parameter, its copy) of every one in half precision. They are made when first needed: by then models are on
        their device."""
        if not self._copied:
            for group, trained in zip(self.param_groups, self.trained, strict=True):
                group["params"] = [_copy(one) if one.dtype in HALVES else one for one in trained]
            self._copied = True
        return [
            (one, copy) for group, trained in zip(self.param_groups, self.trained, strict=True)
            for one, copy in zip(trained, group["params"], strict=True) if copy is not one
        ]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else torch.enable_grad()(closure)()
        # `inner` moves what has a gradient, each parameter by itself, so that it may go through them part by part: the
        # gradients of a part alone are held in fp32.
        first, *others = _parts(self.copies())
        self._step(first)
        whole = [(one, one.grad) for trained in self.trained for one in trained if one.dtype not in HALVES]
        for one, _ in whole:  # which have moved
            one.grad = None
        for part in others:
            self._step(part)
        for one, gradient in whole:
            one.grad = gradient
        return loss

    def _step(self, part: Sequence[tuple[Tensor, Tensor]]) -> None:
        for one, copy in part:
            # Gradients are clipped by then: Trainer does it on the parameters themselves.
            copy.grad = None if one.grad is None else one.grad.float()
        self.inner.step()
        for one, copy in part:
            one.copy_(copy)
            copy.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        for trained in self.trained:
            for one in trained:
                if set_to_none:
                    one.grad = None
                elif one.grad is not None:
                    one.grad.zero_()

    def state_dict(self) -> JsonObject:
        return {"inner": self.inner.state_dict(), "copies": [copy.detach() for _, copy in self.copies()]}

    @torch.no_grad()
    def load_state_dict(self, state_dict: JsonObject) -> None:
        # Made before the inner state is loaded, which is by the copies' places.
        copies = self.copies()
        self.inner.load_state_dict(state_dict["inner"])
        self.param_groups, self.state = self.inner.param_groups, self.inner.state
        for (_, copy), saved in zip(copies, state_dict["copies"], strict=True):
            copy.copy_(saved)


def with_masters(optimizer: Optimizer) -> Optimizer:
    """`optimizer`, with fp32 copies of what it trains in half precision; itself where that is nothing."""
    halves = any(one.dtype in HALVES for group in optimizer.param_groups for one in group["params"])
    return MasterWeights(optimizer) if halves else optimizer


def _parts(copies: Sequence[tuple[Tensor, Tensor]]) -> list[list[tuple[Tensor, Tensor]]]:
    """The pairs in their order, as many in a part as have no more than `AT_ONCE` numbers, and at least one."""
    parts: list[list[tuple[Tensor, Tensor]]] = [[]]
    numbers = 0
    for pair in copies:
        numbers += pair[1].numel()
        if parts[-1] and numbers > AT_ONCE:
            parts.append([])
            numbers = pair[1].numel()
        parts[-1].append(pair)
    return parts


def _copy(one: Tensor) -> Tensor:
    return one.detach().float().requires_grad_()
