"""The blocks that the native engine takes and frees while rollouts are drawn (`eval/engine`), written down by its
rules."""

from collections.abc import Iterator
from dataclasses import dataclass

from eval.engine import native
from pipeline.costs.rehearsal.heap import NODE, Block

ROUNDS = 2
"""The second one finds the holes that the first one has left."""


@dataclass(frozen=True)
class Draws:
    """A round, in bytes. `held` is there all the time, such as weights; `copies` are of a layer, and `head` of the
    head, both laid out anew for decoding; `prompt` and `most` are tokens of the longest prompt and of it with its
    completion, of which there are `rows`; `entry` is what a token leaves in the cache of one layer, an equal part of it
    in each of `caches`; `logits` are those of a step, `moment` is what a step or a prefill takes besides."""

    held: int
    layers: int
    copies: int
    head: int
    rows: int
    prompt: int
    most: int
    entry: int
    caches: int
    logits: int
    moment: int


def blocks_of(draws: Draws) -> list[Block]:
    """Every block, in its order."""
    return [*_Writer().written(draws)]


class _Writer:
    def __init__(self) -> None:
        self._next = 0

    def written(self, draws: Draws) -> Iterator[Block]:
        yield from self._taken(draws.held, [], [])
        for _ in range(ROUNDS):
            round_, small = list[int](), list[int]()
            for _ in range(draws.layers):
                yield from self._taken(draws.copies, round_, small)
            yield from self._taken(draws.head, round_, small)
            yield from self._cached(draws, round_, small)
            yield from (Block(number, 0) for number in (*round_, *small))

    def _cached(self, draws: Draws, round_: list[int], small: list[int]) -> Iterator[Block]:
        """Caches grow by `native.ROOM` tokens a row, layer by layer: each is made anew before the old one goes."""
        held: list[list[int]] = [[] for _ in range(draws.layers * draws.caches)]
        capacity = min(draws.prompt + native.ROOM, draws.most)
        while True:
            for own in held:
                before = list(own)
                own.clear()
                yield from self._taken(draws.rows * capacity * draws.entry // draws.caches, own, small)
                yield from (Block(number, 0) for number in before)
            step: list[int] = []
            for size in (draws.moment, *[draws.logits] * 4):
                yield from self._taken(size, step, small)
            yield from (Block(number, 0) for number in step)
            if capacity >= draws.most:
                break
            capacity = min(capacity + native.ROOM, draws.most)
        round_ += [number for own in held for number in own]

    def _taken(self, size: int, large: list[int], small: list[int]) -> Iterator[Block]:
        """A block, whose number is added to `large`, and something small that stays longer, in `small`."""
        for numbers, taken in ((large, size), (small, NODE)):
            if taken:
                numbers.append(self._next)
                yield Block(self._next, taken, numbers is small)
                self._next += 1
