"""How much better a rollout was than its group: the advantages of GRPO."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Scale = Literal["group", "batch", "advantages", "mean", "none"]
Baseline = Literal["group", "others"]

SCALE_FLOOR = 1e-4
"""Added to a standard deviation before dividing by it, as trl does; a group of equal rewards then has advantages of
0."""


class Advantages(NamedTuple):
    """`values` [rollouts], 0 for rollouts that could not be graded, and `without_signal`, the share of groups that
    teach nothing."""

    values: Tensor
    without_signal: float


def rewards_of(totals: Sequence[float | None]) -> Tensor:
    """Totals of a rubric as rewards [rollouts], NaN for what could not be graded."""
    return torch.tensor([float("nan") if total is None else total for total in totals])


def group_advantages(
    rewards: Tensor, group_size: int, scale: Scale, baseline: Baseline = "group"
) -> Advantages:
    """A_i = (r_i - mean of its group) / (std + 1e-4) for rewards [rollouts], groups side by side (Shao et al. 2024,
    arXiv 2402.03300, section 4.1.2).

    `scale` is what divides: the standard deviation of the group's rewards as in the paper, of the whole batch's rewards
    (as trl has it), or of the batch's advantages before this (Hu et al. 2025, REINFORCE++, arXiv 2501.03262, equation
    11; their mean is 0 already); the group's mean (MaxRL, arXiv 2602.02710, by which a problem weighs the more the more
    rarely it is solved); or nothing (Dr. GRPO, arXiv
    2503.20783, which shows that the group's deviation favours problems that are too easy or too hard). `baseline` is
    whose mean is taken from a reward: the group's, or that of the others of its group (RLOO, arXiv 2402.14740, equation
    8). A reward that is NaN stands for a rollout that could not be graded: it leaves its group, and has advantage 0.

    MaxRL's rewards are 0 or 1. Where rules take something away as well, a mean may be as near to 0 as it likes, and one
    group would outweigh all others: what divides is at least what the mean is where only the best of the group has its
    reward and the others have 0, which changes nothing for rewards of 0 and 1. A group without any reward above 0
    teaches nothing then.
    """
    groups = rewards.view(-1, group_size)  # [groups, group_size]
    mean = torch.nanmean(groups, dim=1).repeat_interleave(group_size)
    deviation = standard_deviation(groups).repeat_interleave(group_size)
    # The mean of equal rewards may differ from them by rounding, which divided by its own size would be an advantage.
    equal = (_worst(groups) == _best(groups)).repeat_interleave(group_size)
    graded = (~groups.isnan()).sum(dim=1).repeat_interleave(group_size)
    best = _best(groups).repeat_interleave(group_size)
    dull = without_signal(groups, scale).float().mean().item()
    # A group of one graded rollout has nothing to compare it with; its deviation is NaN and its advantage 0.
    values = (rewards - mean).masked_fill(equal & ~rewards.isnan(), 0.0)
    if baseline == "others":
        # r_i less the mean of the other n - 1 is n / (n - 1) times r_i less the mean of all n.
        values = torch.where(graded > 1, values * graded / (graded - 1).clamp(min=1), 0.0)
    if scale == "mean":
        values = torch.where(best > 0, values / (torch.maximum(mean, best / graded) + SCALE_FLOOR), 0.0)
    elif scale != "none":
        own = {"group": deviation, "batch": _of_all(rewards), "advantages": _of_all(values)}[scale]
        values = values / (own + SCALE_FLOOR)
    return Advantages(torch.nan_to_num(values, nan=0.0), dull)


def without_signal(groups: Tensor, scale: Scale) -> Tensor:
    """Which groups teach nothing, [groups] of bool, for rewards [groups, group_size]: those whose rewards do not
    differ, of which fewer than two could be graded, or, of MaxRL, in which nothing is rewarded above 0."""
    deviation = standard_deviation(groups)
    dull = (_worst(groups) == _best(groups)) | torch.isclose(deviation, torch.zeros_like(deviation)) | deviation.isnan()
    return dull | (_best(groups) <= 0) if scale == "mean" else dull


def _worst(groups: Tensor) -> Tensor:
    return groups.nan_to_num(nan=torch.inf).amin(dim=1)


def _best(groups: Tensor) -> Tensor:
    return groups.nan_to_num(nan=-torch.inf).amax(dim=1)


def _of_all(values: Tensor) -> Tensor:
    return standard_deviation(values.view(1, -1)).expand_as(values)


def standard_deviation(values: Tensor) -> Tensor:
    """Of each row of values [rows, columns], with Bessel's correction and without NaNs; NaN where fewer than two are
    left."""
    mean = torch.nanmean(values, dim=1, keepdim=True)
    variance = torch.nanmean((values - mean) ** 2, dim=1)
    count = (~values.isnan()).sum(dim=1)
    # 1 / (count - 1) is infinite for one value, whose deviation nobody knows: 0 * inf is the NaN that says so
    return torch.sqrt(variance * (count / (count - 1)))
