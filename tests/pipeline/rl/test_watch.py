"""What a training by rounds tells of its routers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState

from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.moe.watch import LASTING
from pipeline.rl.watch import RoundLog


@pytest.mark.parametrize("updates", [1, 2, 3])
@pytest.mark.parametrize("even", [0, 1, 2])
def test_a_collapse_is_told_once_at_whatever_update_of_a_round(
    tiny: Callable[..., Any], context: Callable[..., Any], updates: int, even: int
) -> None:
    balance = Balance(tiny("qwen3_moe"), Balancing())
    layers, experts = len(balance.watch.layers), balance.watch.experts
    log, ctx = [], context()
    ctx.note = log.append
    watch = RoundLog(ctx, 2 * LASTING, updates, balance)
    collapsed = torch.zeros(layers, experts)
    collapsed[:, 0] = 1e3
    state, control = TrainerState(), TrainerControl()
    for step in range(1, 2 * LASTING * updates + 1):
        state.global_step = step
        balance.watch.see(torch.ones(layers, experts) if step <= even else collapsed, 0.0, 0.0)
        watch.on_step_end(None, state, control)  # type: ignore[arg-type]
        if step % updates == 1 % updates:
            logs = {"reward": 0.0, "divergence": 0.0, "length": 1.0, "entropy": 0.0}
            watch.on_log(None, state, control, logs)  # type: ignore[arg-type]
    assert len([line for line in log if "experts collapse in layer" in line]) == layers
