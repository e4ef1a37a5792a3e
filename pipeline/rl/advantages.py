"""How much better a rollout was than its group: the advantages of GRPO."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Scale = Literal["group", "batch", "none"]

SCALE_FLOOR = 1e-4
"""Added to a standard deviation before dividing by it, as trl does; a group of equal rewards then has advantages of
0."""


class Advantages(NamedTuple):
    """`values` [rollouts], 0 for rollouts that could not be graded, and `without_signal`, the share of groups (of
    rollouts, where the scale is the batch's) whose rewards do not differ and which therefore teach nothing."""

    values: Tensor
    without_signal: float


def rewards_of(totals: Sequence[float | None]) -> Tensor:
    """Totals of a rubric as rewards [rollouts], NaN for what could not be graded."""
    return torch.tensor([float("nan") if total is None else total for total in totals])


def group_advantages(rewards: Tensor, group_size: int, scale: Scale) -> Advantages:
    """A_i = (r_i - mean of its group) / (std + 1e-4) for rewards [rollouts], groups side by side (Shao et al. 2024,
    arXiv 2402.03300, section 4.1.2).

    `scale` is whose standard deviation divides: the group's as in the paper, the whole batch's (Hu et al. 2025,
    REINFORCE++, arXiv 2501.03262), or nobody's (Dr. GRPO, arXiv 2503.20783, which shows that the group's favours
    problems that are too easy or too hard). A reward that is NaN stands for a rollout that could not be graded: it
    leaves its group, and has advantage 0.
    """
    groups = rewards.view(-1, group_size)  # [groups, group_size]
    mean = torch.nanmean(groups, dim=1).repeat_interleave(group_size)
    if scale == "batch":
        deviation = standard_deviation(rewards.view(1, -1)).expand_as(rewards)
    else:
        deviation = standard_deviation(groups).repeat_interleave(group_size)
    # A group of one graded rollout has nothing to compare it with; its deviation is NaN and its advantage 0.
    values = rewards - mean
    if scale != "none":
        values = values / (deviation + SCALE_FLOOR)
    without_signal = torch.isclose(deviation, torch.zeros_like(deviation)).float().mean().item()
    return Advantages(torch.nan_to_num(values, nan=0.0), without_signal)


def standard_deviation(values: Tensor) -> Tensor:
    """Of each row of values [rows, columns], with Bessel's correction and without NaNs; NaN where fewer than two are
    left."""
    mean = torch.nanmean(values, dim=1, keepdim=True)
    variance = torch.nanmean((values - mean) ** 2, dim=1)
    count = (~values.isnan()).sum(dim=1)
    # 1 / (count - 1) is infinite for one value, whose deviation nobody knows: 0 * inf is the NaN that says so
    return torch.sqrt(variance * (count / (count - 1)))
