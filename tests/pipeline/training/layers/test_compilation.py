"""Compiled layers have the gradients of the others, to rounding, and the same bytes in whatever order shapes come."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.moe.balance import Balance
from pipeline.training.layers.compilation import CompiledLayers

Tiny = Callable[..., Any]
FAMILIES = (
    "qwen3", "deepseek_v3", "qwen3_moe", "mixtral", "deepseek_v2", "qwen2_moe", "olmoe", "gpt_oss", "dbrx", "jamba",
)


def gradients(model: Any, rows: int, seq: int) -> tuple[dict[str, torch.Tensor], Any]:
    ids = torch.randint(4, 48, (rows, seq), generator=torch.Generator().manual_seed(rows * seq))
    mask = torch.ones_like(ids)
    mask[0, seq - 3:] = 0
    balance = Balance(model)
    model.zero_grad()
    loss = model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss
    (loss + balance.loss()).backward()
    balance.step()
    figures = balance.watch.figures()
    balance.remove()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, figures


@pytest.mark.parametrize("family", FAMILIES)
def test_it(tiny: Tiny, family: str) -> None:
    model = tiny(family).train()
    sd = {k: v.clone() for k, v in model.state_dict().items()}
    eager = [gradients(model, *shape) for shape in ((3, 11), (1, 9), (4, 20))]
    model.load_state_dict(sd)
    t = time.time()
    compiled = CompiledLayers(model)
    made = [gradients(model, *shape) for shape in ((3, 11), (1, 9), (4, 20))]
    print(family, len(compiled._parts), round(time.time() - t, 1), "s")
    compiled.remove()
    for (a, b), (c, d) in zip(eager, made):
        assert a.keys() == c.keys()
        print(max(float((a[k] - c[k]).abs().max()) for k in a), {k: (b[k], d[k]) for k in b if b[k] != d[k]})
