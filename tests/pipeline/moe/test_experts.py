"""Experts under autocast: in its precision, as everything around them is, with gradients in the weights' own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.models.build import prepare
from pipeline.moe.families import FAMILIES

Tiny = Callable[..., Any]
GROUPED = [name for name, family in FAMILIES.items() if family.grouped]
IDS = torch.randint(4, 48, (2, 9), generator=torch.Generator().manual_seed(0))


class Products(TorchDispatchMode):
    """The precisions of what is multiplied in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten._grouped_mm.default:
            self.seen |= {args[0].dtype, args[1].dtype}
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", GROUPED)
def test_experts_are_computed_as_what_is_around_them(tiny: Tiny, family: str) -> None:
    model = prepare(tiny(family)).eval()
    expected = model(IDS).logits
    with Products() as products, torch.autocast("cpu", torch.bfloat16):
        logits = model(IDS).logits
        logits.float().logsumexp(-1).sum().backward()
    assert products.seen == {torch.bfloat16}
    gradients = {parameter.grad.dtype for parameter in model.parameters() if parameter.grad is not None}
    assert gradients == {torch.float32}
    # Of most tokens: routers that round otherwise send some of them to other experts.
    assert (logits - expected).abs().median() < 0.05
    with Products() as products:
        model(IDS)
    assert products.seen == {torch.float32}


def test_widths_that_half_precision_cannot_multiply_stay_as_they_are(tiny: Tiny) -> None:
    model = prepare(tiny("qwen3_moe", moe_intermediate_size=12)).eval()
    with Products() as products, torch.autocast("cpu", torch.bfloat16):
        model(IDS)
    assert products.seen == {torch.float32}
