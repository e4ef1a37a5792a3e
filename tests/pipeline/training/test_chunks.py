"""Chunks hold every row once, shortest first, at the least cost of all splits."""

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.chunks import chunks


def cost(lengths: list[int], split: list[list[int]], overhead: int) -> int:
    return sum(len(part) * max(lengths[place] for place in part) + overhead for part in split)


@given(st.lists(st.integers(1, 60), max_size=9), st.integers(0, 100))
def test_chunks_are_the_cheapest_split(lengths: list[int], overhead: int) -> None:
    found = chunks(lengths, overhead)
    places = [place for part in found for place in part]
    assert sorted(places) == list(range(len(lengths)))
    assert [lengths[place] for place in places] == sorted(lengths)
    every = sorted(range(len(lengths)), key=lambda place: lengths[place])
    for count in range(len(lengths)):
        for cuts in combinations(range(1, len(lengths)), count):
            edges = [0, *cuts, len(lengths)]
            split = [every[a:b] for a, b in pairwise(edges)]
            assert cost(lengths, found, overhead) <= cost(lengths, split, overhead)


def test_equal_lengths_stay_together() -> None:
    assert len(chunks([50] * 40)) == 1
    assert len(chunks([10] * 40 + [200] * 4)) == 2
