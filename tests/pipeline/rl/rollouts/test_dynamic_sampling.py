"""Dynamic sampling: groups without signal give way, each further problem is used once, and a resumption goes on where
it was."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.engine.types import Sampled
from pipeline.rl.objectives.advantages import Scale
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.rollouts.dynamic_sampling import DynamicSampling

SIZE = 2


def visit(problem: int) -> Visit:
    return Visit("", str(problem), 0)


def draw(rows: Sequence[Visit]) -> list[Sampled]:
    """Rollouts that say which problem they are of."""
    return [Sampled([int(row.problem)], [0.0], True) for row in rows]


def rewards_where(teaches: Sequence[bool]) -> Any:
    """Rewards of groups: 0 and 1 where a problem teaches something, else equal ones, or nobody can tell."""
    def rewards(rows: Sequence[Visit], sampled: Sequence[Sampled]) -> list[float | None]:
        assert [one.ids[0] for one in sampled] == [int(row.problem) for row in rows]
        return [
            float(place % SIZE) if teaches[int(row.problem)] else (None, 1.0)[int(row.problem) % 2]
            for place, row in enumerate(rows)
        ]
    return rewards


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_a_step_is_filled_as_far_as_rounds_and_problems_go(
    teaches: list[bool], groups: int, rounds: int, steps: int
) -> None:
    groups = min(groups, len(teaches))
    first, reserve = range(groups), list(range(groups, len(teaches)))
    dynamic = DynamicSampling(rounds, [visit(problem) for problem in reserve], SIZE, "group")
    seen: list[int] = []
    for _ in range(steps):
        used = dynamic.used
        rows, sampled = dynamic.fill([visit(p) for p in first for _ in range(SIZE)], draw, rewards_where(teaches))
        problems = [int(row.problem) for row in rows[::SIZE]]
        assert [int(row.problem) for row in rows] == [p for p in problems for _ in range(SIZE)]
        assert [one.ids[0] for one in sampled] == [int(row.problem) for row in rows]
        taken = reserve[used : dynamic.used]
        seen += taken
        assert dynamic.drawn == groups + len(taken)
        assert dynamic.without == sum(not teaches[p] for p in [*first, *taken])
        for place, problem in enumerate(problems):
            # who teaches stays, and who gives way does so to what was drawn for it
            assert problem == place if teaches[place] else problem in (place, *taken)
        without = sum(not teaches[p] for p in problems)
        expected, left = sum(not teaches[p] for p in first), list(taken)
        for _ in range(rounds):
            now, left = left[:expected], left[expected:]
            expected -= sum(teaches[p] for p in now)
        assert without == expected
        assert without == 0 or dynamic.used == len(reserve) or len(taken) >= rounds
    assert seen == reserve[: dynamic.used]  # once each, in their order


def test_what_is_resumed_goes_on_with_the_next_problem() -> None:
    reserve = [visit(problem) for problem in range(2, 20)]
    rewards, rows = rewards_where([False] * 20), [visit(p) for p in (0, 1) for _ in range(SIZE)]
    whole, cut = (DynamicSampling(2, reserve, SIZE, "group") for _ in range(2))
    whole.fill(rows, draw, rewards)
    cut.fill(rows, draw, rewards)
    again = DynamicSampling(2, reserve, SIZE, "group")
    again.restore(cut.state())
    assert again.figures() == whole.figures() == {"dynamic/groups_drawn": 6, "dynamic/groups_without_signal": 6}
    assert again.fill(rows, draw, rewards) == whole.fill(rows, draw, rewards)


@pytest.mark.parametrize(("scale", "kept"), [("group", [0, 1]), ("mean", [2, 1])])
def test_of_maxrl_a_group_teaches_nothing_where_nothing_is_rewarded(scale: Scale, kept: list[int]) -> None:
    worth = {0: [-0.5, 0.0], 1: [0.0, 1.0], 2: [0.0, 1.0]}

    def rewards(rows: Sequence[Visit], _: Sequence[Sampled]) -> list[float | None]:
        return [worth[int(row.problem)][place % SIZE] for place, row in enumerate(rows)]

    dynamic = DynamicSampling(1, [visit(2)], SIZE, scale)
    rows, _ = dynamic.fill([visit(p) for p in (0, 1) for _ in range(SIZE)], draw, rewards)
    assert [int(row.problem) for row in rows[::SIZE]] == kept
