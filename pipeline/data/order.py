"""Which rows of a dataset are trained on, and in which order: rows by their numbers, each read when it is asked for."""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.contract.errors import StageError
from pipeline.data.rows import Row
from pipeline.data.tokenized import Tokenized


@dataclass(frozen=True)
class Fitting:
    """The numbers of the rows that can be trained on at `most` tokens, how many are longer, and of how many of these
    nothing that is learned is left when they are cut."""

    numbers: list[int]
    most: int
    cut: bool
    longer: int
    nothing_left: int


def fitting(rows: Tokenized, most: int, *, cut: bool) -> Fitting:
    """The rows of at most so many tokens, in their order; with `cut` also those that are longer, where something that
    is learned is left of them."""
    long = {number for number, length in enumerate(rows.lengths) if length > most}
    left = {number for number in long if rows.first_learned[number] < most} if cut else set()
    numbers = [number for number in range(len(rows)) if number not in long or number in left]
    return Fitting(numbers, most, cut, len(long), len(long) - len(left) if cut else 0)


def left_out_of(rows: Tokenized, chosen: Fitting, note: Callable[[str], None]) -> dict[str, int]:
    """What of a dataset is not trained on as it is, by reason, for a stage's metrics; `note` gets a line of it."""
    counts = {f"dropped/{reason}": count for reason, count in sorted(rows.dropped.items())}
    if rows.dropped:
        bad = rows.dropped.total()
        note(f"{bad} of {bad + len(rows)} rows are bad, left out, such as {rows.first_dropped}")
    if rows.without_thinking:
        note(f"the chat template leaves the thinking of {rows.without_thinking} earlier turns out, which are not "
             "learned; to learn one, let a row end with it")
        counts["not learned/thinking left out"] = rows.without_thinking
    if chosen.longer:
        done = "cut" if chosen.cut else "left out"
        note(f"{chosen.longer} of {len(rows)} rows are longer than {chosen.most} tokens, {done}")
        counts["cut" if chosen.cut else "dropped/too long"] = chosen.longer - chosen.nothing_left
    if chosen.nothing_left:
        note(f"{chosen.nothing_left} of these have nothing to learn in their first {chosen.most} tokens, left out")
        counts["dropped/nothing to learn"] = chosen.nothing_left
    return counts


class Ordered:
    """Rows in the order of `numbers`, each cut to at most so many tokens."""

    def __init__(self, rows: Tokenized, numbers: Sequence[int], most: int, prompt_weight: float = 0.0) -> None:
        self._rows, self._numbers, self._most, self._prompt_weight = rows, numbers, most, prompt_weight

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Row:
        return self._rows.row(self._numbers[index], self._prompt_weight, self._most)


def epochs(numbers: Sequence[int], count: int, rng: random.Random) -> list[int]:
    """The first `count` numbers of epochs over them, each in an order of its own."""
    order: list[int] = []
    while len(order) < count:
        order += rng.sample(numbers, len(numbers))
    return order[:count]


class Shuffled:
    """The first `count` rows of endless epochs over those that are at most `most` tokens long, or are cut to it.
    `begin` is called when the first one is asked for."""

    def __init__(
        self, rows: Tokenized, count: int, most: int, rng: random.Random, *, cut: bool, prompt_weight: float,
        begin: Callable[[], None] = lambda: None, left_out: Collection[int] = (),
    ) -> None:
        """`left_out` are the numbers of rows that are not read. Raises StageError where no row is short enough."""
        self._rows, self._count, self._most, self._rng, self._cut = rows, count, most, rng, cut
        self._prompt_weight, self._begin, self._left_out = prompt_weight, begin, left_out
        if not set(fitting(rows, most, cut=cut).numbers).difference(left_out):
            raise StageError(f"none of {len(rows)} texts is at most {most} tokens long")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Row:
        return self._ordered[index]

    @cached_property
    def _ordered(self) -> Ordered:
        self._begin()
        kept = set(fitting(self._rows, self._most, cut=self._cut).numbers).difference(self._left_out)
        order: list[int] = []
        while len(order) < self._count:
            # All are shuffled, so that the order does not depend on how many fit.
            order += [number for number in self._rng.sample(range(len(self._rows)), len(self._rows)) if number in kept]
        return Ordered(self._rows, order[: self._count], self._most, self._prompt_weight)
