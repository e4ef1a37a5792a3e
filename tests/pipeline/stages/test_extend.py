"""Context extension: what is measured of each position."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.stages.extend import BUCKETS, loss_by_position

Tiny = Callable[..., Any]
IDS = torch.randint(4, 48, (2, 40), generator=torch.Generator().manual_seed(0))


def test_loss_by_position_is_the_mean_over_each_span(tiny: Tiny) -> None:
    model = tiny("qwen3")
    rows = [{"input_ids": ids.tolist(), "weights": [0.1] * 8 + [1.0] * 32} for ids in IDS]
    spans = loss_by_position(model, rows, 64)
    with torch.no_grad():
        logits = model.eval()(IDS).logits
    logprobs = torch.log_softmax(logits[:, :-1], -1).gather(-1, IDS[:, 1:, None])[..., 0]
    assert len(spans) == BUCKETS
    assert spans[0] == pytest.approx(-float(logprobs[:, 7:8].mean()), rel=1e-5)
    assert spans[2] == pytest.approx(-float(logprobs[:, 16:24].mean()), rel=1e-5)
    assert spans[5:] == [None] * 3
    assert "forward" not in vars(model)  # trl's is taken away again


@pytest.mark.parametrize("length", [20, 40, 41])
def test_spans_of_odd_lengths_hold_every_token_once(tiny: Tiny, length: int) -> None:
    model = tiny("qwen3")
    row = {"input_ids": IDS[0, :length].tolist(), "weights": [1.0] * min(length, 40)}
    spans = loss_by_position(model, [row], length)
    with torch.no_grad():
        logits = model.eval()(IDS[:1, :length]).logits[0, :-1]
    losses = -torch.log_softmax(logits, -1).gather(-1, IDS[0, 1:length, None])[:, 0]
    for bucket, found in enumerate(spans):
        here = losses[bucket * length // BUCKETS : (bucket + 1) * length // BUCKETS]
        assert found == (pytest.approx(float(here.mean()), rel=1e-5) if len(here) else None)
