"""Advantages by hand, by their properties, and with trl's arithmetic."""

from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trl.trainer.utils import nanstd

from pipeline.rl.objectives.advantages import Scale, group_advantages, standard_deviation
from pipeline.rl.objectives.objective import FORMS

NAN = float("nan")


def test_by_hand() -> None:
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    values, without = group_advantages(rewards, 4, "group")
    deviation = (1 / 3) ** 0.5  # of 1, 0, 0, 1 with Bessel's correction: sqrt(4 * 0.25 / 3)
    expected = 0.5 / (deviation + 1e-4)
    assert values.tolist() == pytest.approx([expected, -expected, -expected, expected, 0, 0, 0, 0])
    assert without == 0.5
    assert group_advantages(rewards, 4, "none").values.tolist() == [0.5, -0.5, -0.5, 0.5, 0, 0, 0, 0]
    of_batch = 0.5 / (float(rewards.std()) + 1e-4)
    assert group_advantages(rewards, 4, "batch").values.tolist() == pytest.approx(
        [of_batch, -of_batch, -of_batch, of_batch, 0, 0, 0, 0]
    )


def test_further_scales_by_hand() -> None:
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    # MaxRL: divided by the mean, .25 and .75; a group that solves nothing teaches nothing.
    values, without = group_advantages(rewards, 4, "mean")
    assert values.tolist() == pytest.approx([3, -1, -1, -1, 1 / 3, 1 / 3, -1, 1 / 3, 0, 0, 0, 0], rel=1e-3)
    assert without == pytest.approx(1 / 3)
    # REINFORCE++: by the standard deviation of all advantages, whose squares add up to 1.5.
    plain = group_advantages(rewards, 4, "none").values
    values = group_advantages(rewards, 4, "advantages").values
    assert torch.allclose(values, plain / ((1.5 / 11) ** 0.5 + 1e-4))
    # RLOO: less the mean of the three others.
    values = group_advantages(rewards, 4, "none", "others").values
    assert values.tolist() == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3, 1 / 3, 1 / 3, -1, 1 / 3, 0, 0, 0, 0])


def test_where_rules_take_away_no_group_outweighs_the_others() -> None:
    rewards = torch.tensor([1.0, -0.99, 0, 0, 0, 0, 0, 0, 1, -1, -0.5, 0, 0, 0, 0, 0, -1, -0.5, 0, 0, 0, 0, 0, 0])
    values, without = group_advantages(rewards, 8, "mean")
    # Divided by an eighth, as if one rollout alone had a reward of 1.
    assert values[:3].tolist() == pytest.approx([7.99, -7.93, -0.01], rel=1e-2)
    assert values[8:11].tolist() == pytest.approx([8.5, -7.5, -3.5], rel=1e-2)
    assert values[16:].count_nonzero() == 0
    assert without == pytest.approx(1 / 3)


def test_those_nobody_could_grade_are_in_no_deviation() -> None:
    """The graded ones are a 1 alone, of advantage 0, and four halves."""
    values = group_advantages(torch.tensor([1.0, NAN, NAN, NAN, 1, 0, 1, 0]), 4, "advantages").values
    assert values.tolist() == pytest.approx([0, 0, 0, 0, 1, -1, 1, -1], rel=1e-3)


def test_alone_in_its_group_a_rollout_has_no_others() -> None:
    values = group_advantages(torch.tensor([1.0, NAN, 1.0, 0.0]), 2, "none", "others").values
    assert values.tolist() == [0, 0, 1, -1]


def test_reinforce_plus_plus_divides_by_the_deviation_of_advantages() -> None:
    """arXiv 2501.03262, equations 10 and 11, by hand."""
    rewards = torch.tensor([1.0, 0, 0, 0, 1, 1, 0, 0])
    expected = torch.tensor([0.75, -0.25, -0.25, -0.25, 0.5, 0.5, -0.5, -0.5])
    found = group_advantages(rewards, 4, FORMS["reinforce++"].scale).values
    assert torch.allclose(found, expected / (expected.std() + 1e-4))


def test_a_group_without_signal_is_one_whatever_divides() -> None:
    rewards = torch.tensor([1.0, 0, 0, 0, *[0.0] * 4, *[1.0] * 4, *[0.0] * 4])
    for scale in get_args(Scale):
        assert group_advantages(rewards, 4, scale).without_signal == 0.75


def test_what_could_not_be_graded_leaves_its_group() -> None:
    values, _ = group_advantages(torch.tensor([1.0, NAN, 0.0, 1.0, NAN, NAN, NAN, 1.0]), 4, "none")
    assert values.tolist() == pytest.approx([1 / 3, 0, -2 / 3, 1 / 3, 0, 0, 0, 0])
    values, without = group_advantages(torch.tensor([NAN, NAN, 3.0, 5.0]), 2, "group")
    assert values.tolist()[:2] == [0, 0]
    assert values.isfinite().all()
    assert without == 0.5


@pytest.mark.parametrize(("reward", "size"), [(1.2, 300), (2.2, 128), (10.7, 60), (1 / 3, 4)])
def test_equal_rewards_teach_nothing_whatever_their_mean_is_rounded_to(reward: float, size: int) -> None:
    for scale in get_args(Scale):
        given = [reward] * (size - 1) + [NAN] + [0.0, 1.0] * (size // 2)
        values, without = group_advantages(torch.tensor(given), size, scale)
        assert values[:size].count_nonzero() == 0
        assert values[size:].count_nonzero()
        assert without == 0.5


rewards = st.lists(
    st.sampled_from([0.0, 0.25, 1.0, 1.5, NAN]), min_size=4, max_size=24
).map(lambda some: some[: len(some) // 4 * 4])


@given(rewards, st.sampled_from(["group", "batch", "none"]))
def test_the_arithmetic_is_trls(given: list[float], scale: Any) -> None:
    """As in GRPOTrainer._generate_and_score_completions (trl 1.16), for one reward function."""
    values = torch.tensor(given)
    grouped = values.view(-1, 4)
    mean = torch.nanmean(grouped, dim=1).repeat_interleave(4)
    deviation = nanstd(values).expand_as(values) if scale == "batch" else nanstd(grouped, dim=1).repeat_interleave(4)
    expected = values - mean
    if scale != "none":
        expected = expected / (deviation + 1e-4)
    found = group_advantages(values, 4, scale).values
    assert torch.equal(found, torch.nan_to_num(expected, nan=0.0))


@given(rewards)
def test_a_group_adds_up_to_nothing_and_does_not_care_for_an_offset(given: list[float]) -> None:
    values = torch.tensor(given, dtype=torch.float64)
    found = group_advantages(values, 4, "group").values
    assert found.view(-1, 4).sum(dim=1).abs().max() < 1e-9
    assert torch.allclose(found, group_advantages(values + 2, 4, "group").values, atol=1e-9)


def test_the_deviation_of_one_value_is_unknown() -> None:
    found = standard_deviation(torch.tensor([[1.0, NAN], [1.0, 3.0]]))
    assert found[0].isnan()
    assert found[1].item() == pytest.approx(2**0.5)
