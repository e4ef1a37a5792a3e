"""A mix of datasets by phase: exact counts, each dataset's rows in their order, and orders that come from a seed."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.data import mix
from pipeline.data.mix import Mixed, MixPhase
from pipeline.data.rows import Row

PHASES = [MixPhase(until=0.8, weights={"general": 0.7, "math": 0.3}), MixPhase(until=1.0, weights={"math": 1.0})]

weights = st.dictionaries(st.sampled_from("abcde"), st.floats(0, 10), min_size=1).filter(lambda one: sum(one.values()))


@given(weights, st.integers(0, 1000))
def test_parts_are_whole_and_less_than_one_away_from_what_they_should_be(given: dict[str, float], count: int) -> None:
    parts = mix.apportioned(given, count)
    assert sum(parts.values()) == count
    assert set(parts) == set(given)
    for name, part in parts.items():
        assert abs(part - given[name] * count / sum(given.values())) < 1 + 1e-6
        assert part == 0 or given[name] > 0


def test_the_largest_remainders_are_rounded_up() -> None:
    assert mix.apportioned({"a": 0.7, "b": 0.3}, 10) == {"a": 7, "b": 3}
    assert mix.apportioned({"a": 1, "b": 1, "c": 1}, 8) == {"a": 3, "b": 3, "c": 2}
    assert mix.apportioned({"a": 0.5, "b": 0.29, "c": 0.21}, 5) == {"a": 3, "b": 1, "c": 1}


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 5))
def test_every_phase_has_its_rows_and_nothing_else(steps: int, batch: int, seed: int) -> None:
    phases = list(mix.drawn(PHASES, steps, batch))
    assert [end for end, _ in phases] == [round(0.8 * steps), steps]
    order = mix.order_of([counts for _, counts in phases], random.Random(seed))
    assert order == mix.order_of([counts for _, counts in phases], random.Random(seed))
    assert len(order) == steps * batch
    turn = phases[0][0] * batch
    assert Counter(order[:turn]) == +Counter(phases[0][1])
    assert set(order[turn:]) <= {"math"}


def test_within_a_phase_datasets_are_mingled() -> None:
    order = mix.order_of([{"a": 500, "b": 500}], random.Random(0))
    assert 200 < Counter(order[:500])["a"] < 300
    assert order != mix.order_of([{"a": 500, "b": 500}], random.Random(1))


def test_rows_of_a_dataset_come_in_their_order_whichever_is_asked_for_first() -> None:
    def rows(first: int) -> list[Row]:
        return [{"input_ids": [first + number], "weights": [1.0]} for number in range(9)]

    order = ["a", "b", "b", "a", "b"]
    mixed = Mixed({"a": rows(0), "b": rows(100)}, order)
    assert len(mixed) == 5
    assert mixed[4]["input_ids"] == [102]
    assert [mixed[number]["input_ids"][0] for number in range(5)] == [0, 100, 101, 1, 102]


def test_shares_of_the_whole_are_those_of_the_phases() -> None:
    assert mix.shares(PHASES) == pytest.approx({"general": 0.56, "math": 0.44})


@pytest.mark.parametrize(("ends", "names", "said"), [
    ([0.8, 1.0], ["general", "math"], None),
    ([0.8, 0.9], ["general", "math"], "1.0 in the last; it is 0.8, 0.9"),
    ([0.8, 0.8], ["general", "math"], "rises from phase to phase"),
    ([1.0, 0.5], ["general", "math"], "rises from phase to phase"),
    ([0.8, 1.0], ["general"], "mix weighs math, and data has general"),
    ([0.8, 1.0], ["general", "math", "code"], "reads no row of code"),
])
def test_what_is_wrong_with_a_mix_is_one_line(ends: list[float], names: list[str], said: str | None) -> None:
    phases = [phase.model_copy(update={"until": end}) for phase, end in zip(PHASES, ends, strict=True)]
    found = mix.fault(phases, names)
    assert found is None if said is None else said in str(found)


def test_a_phase_without_a_weight_is_refused() -> None:
    with pytest.raises(ValidationError, match="weights needs one above 0"):
        MixPhase(until=1.0, weights={"a": 0.0})
