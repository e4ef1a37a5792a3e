"""How large a process grows by the blocks that it takes and frees, as glibc's allocator lays them out.

A block goes into the smallest hole that it fits in, holes side by side become one, and what fits nowhere makes the heap
grow, which it keeps: stages run so (`run/launch.py`), since fresh pages are slow. So a process is as large as its heap
ever was.

Holes matter. torch asks for aligned memory, for which glibc (malloc.c, `_int_memalign`) looks for a hole that holds the
block wherever in it a multiple of 64 lies, and gives back what is left over: a hole that a block of the same size has
left is a little too small for that, and large blocks of one size, such as logits, make the heap grow. That happens
unless the hole has become one with its neighbours, for which nothing may lie between them. Small things do: nodes of
the graph of operators, the headers of tensors, what libraries keep. Where each of them lies cannot be known, so two
heaps are laid out: in one they lie where it is best, in the other one right behind every large block.
"""

import bisect
from collections.abc import Iterable, Sequence
from typing import NamedTuple

ALIGNED = 64
"""torch asks for memory at multiples of so many bytes."""

_HEADER, _SMALLEST, _STEP = 16, 32, 16
"""Bytes before a block, of the smallest chunk, and what sizes are multiples of, on 64 bits."""

MAPPED = 1_000_000_000
"""Bytes from which a block is mapped by itself, and given back when it is freed (M_MMAP_THRESHOLD of stages)."""


NODE = 400
"""Bytes, about, of a small thing: a node of the graph of operators, which lies behind a large block."""

LARGE = 2**16
"""Bytes of a block that small ones may lie behind."""


class Block(NamedTuple):
    """`size` bytes taken under this number; 0 bytes free what it took. `small` ones lie between others."""

    number: int
    size: int
    small: bool = False


def expected(blocks: Sequence[Block]) -> int:
    """The most bytes that heap and mapped blocks had together: in the middle of what they are where small things lie
    best, and where they lie worst."""
    return (largest(blocks, apart=True) + largest(blocks, apart=False)) // 2


def largest(blocks: Iterable[Block], *, apart: bool) -> int:
    """The same with small things in holes of their own (`apart`), or behind large blocks."""
    heap, most = _Heap(apart), 0
    for block in blocks:
        if block.size:
            heap.take(block)
            most = max(most, heap.end + heap.mapped)
        else:
            heap.free(block.number)
    return most


def _chunk(size: int) -> int:
    return max(_SMALLEST, -(-(size + _HEADER // 2) // _STEP) * _STEP)


class _Heap:
    def __init__(self, apart: bool) -> None:
        self.end = self.mapped = 0
        self._apart = apart
        self._behind = 0  # where the last large block ends, and what small ones lie behind it
        self._taken: dict[int, tuple[int, int]] = {}  # number -> start and size; start -1 where it is mapped
        self._holes: list[tuple[int, int]] = []  # size and start, the smallest first
        self._by_start: dict[int, int] = {}  # start -> end, and the other way round
        self._by_end: dict[int, int] = {}

    def take(self, block: Block) -> None:
        size = _chunk(block.size)
        if block.small and not self._apart and self._put_behind(block.number, size):
            return
        wanted = _chunk(size + ALIGNED + _SMALLEST)
        if wanted >= MAPPED:
            self.mapped += size
            self._taken[block.number] = (-1, size)
            return
        place = bisect.bisect_left(self._holes, (wanted, 0))
        if place < len(self._holes):
            whole, begin = self._holes[place]
            self._fill(begin, begin + whole)
            behind = begin + whole
        else:
            # The last hole, where it reaches the end, is a part of what grows.
            begin = self._by_end.get(self.end, self.end)
            if begin < self.end:
                self._fill(begin, self.end)
            behind = 0
        start = begin + -(begin + _HEADER) % ALIGNED
        if begin < start < begin + _SMALLEST:
            start += ALIGNED
        if start > begin:
            self._open(begin, start)
        if behind > start + size:
            self._open(start + size, behind)
        self.end = max(self.end, start + size)
        self._taken[block.number] = (start, size)
        if block.size >= LARGE:
            self._behind = start + size

    def _put_behind(self, number: int, size: int) -> bool:
        """Whether there is room for it behind the last large block, where it lies then."""
        start = self._behind
        if start == self.end:
            self.end += size
        else:
            end = self._by_start.get(start, start)
            if end - start < size:
                return False
            self._fill(start, end)
            if end > start + size:
                self._open(start + size, end)
        self._taken[number] = (start, size)
        self._behind = start + size
        return True

    def free(self, number: int) -> None:
        start, size = self._taken.pop(number)
        if start < 0:
            self.mapped -= size
            return
        end = start + size
        if start in self._by_end:
            before = self._by_end[start]
            self._fill(before, start)
            start = before
        if end in self._by_start:
            behind = self._by_start[end]
            self._fill(end, behind)
            end = behind
        self._open(start, end)

    def _open(self, start: int, end: int) -> None:
        bisect.insort(self._holes, (end - start, start))
        self._by_start[start], self._by_end[end] = end, start

    def _fill(self, start: int, end: int) -> None:
        del self._holes[bisect.bisect_left(self._holes, (end - start, start))]
        del self._by_start[start], self._by_end[end]
