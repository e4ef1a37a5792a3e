"""Heaps: never smaller than what is in them, and as large as glibc makes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.costs.rehearsal.heap import MAPPED, Block, expected, largest


@st.composite
def _blocks(draw: st.DrawFn) -> list[Block]:
    """Blocks that are taken, and freed in any order, some never."""
    found: list[Block] = []
    held: list[int] = []
    for number, size in enumerate(draw(st.lists(st.integers(1, 2**24), min_size=1, max_size=40))):
        found.append(Block(number, size, small=size < 1000))
        held.append(number)
        while held and draw(st.booleans()):
            found.append(Block(held.pop(draw(st.integers(0, len(held) - 1))), 0))
    return found


def _most(blocks: list[Block]) -> tuple[int, int]:
    """Bytes that are held at once, at most, and bytes of all blocks."""
    sizes = {block.number: block.size for block in blocks if block.size}
    held = most = 0
    for block in blocks:
        held += block.size or -sizes[block.number]
        most = max(most, held)
    return most, sum(sizes.values())


@given(_blocks())
def test_a_heap_is_between_what_is_held_and_what_was_ever_taken(blocks: list[Block]) -> None:
    held, all_ = _most(blocks)
    for apart in (True, False):
        # A block has a header, and may begin behind a gap.
        assert held <= largest(blocks, apart=apart) <= all_ + 256 * len(blocks)
    assert held <= expected(blocks)


def test_a_smaller_block_goes_where_a_larger_one_was() -> None:
    assert largest([Block(0, 10_000), Block(0, 0), Block(1, 9_000)], apart=True) < 10_500


def test_holes_side_by_side_become_one() -> None:
    freed = [Block(0, 10_000), Block(1, 10_000), Block(2, 100), Block(0, 0), Block(1, 0)]
    assert largest([*freed, Block(3, 19_000)], apart=True) < 21_000


def test_a_block_of_the_same_size_does_not_fit_where_small_things_lie_around() -> None:
    """What makes heaps of trainings grow: the hole is too small by what is asked for besides."""
    size = 2**20
    blocks = [Block(0, size), Block(1, 400, small=True), Block(2, size), Block(3, 400, small=True), Block(0, 0),
              Block(4, size)]
    assert largest(blocks, apart=False) > 3 * size


@pytest.mark.parametrize("size", [MAPPED, 2 * MAPPED])
def test_the_largest_blocks_are_given_back(size: int) -> None:
    assert largest([Block(0, size), Block(0, 0), Block(1, size)], apart=True) < size + 1000
