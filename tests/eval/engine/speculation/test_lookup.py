"""What followed the same ending before is drafted."""

from collections.abc import Callable
from typing import Any

import torch

from eval.engine.native import NativeEngine
from eval.engine.speculation.lookup import Lookup
from eval.engine.speculation.reading import Reading
from eval.engine.speculation.row import Row
from eval.engine.types import Request, Sampling

Tiny = Callable[..., Any]


def drafted(lookup: Lookup, row: Row, count: int = 9) -> list[int]:
    reading = Reading.of(torch.tensor([len(row.text) - 1]), [1])
    [found] = lookup.draft([row], [count], torch.tensor([0]), torch.empty(0, 0), reading)
    return found


def written(row: Row, *tokens: int) -> Row:
    row.numbers(len(tokens))
    for token in tokens:
        row.ids.append(token)
    return row


def test_the_longest_ending_is_found_at_its_newest_place() -> None:
    lookup = Lookup(3)
    row = Row(0, 0, [1, 2, 3, 4, 5, 9, 2, 3, 6, 7, 8], seed=0, most=99)
    assert drafted(lookup, row) == []
    assert drafted(lookup, written(row, 1)) == []
    assert drafted(lookup, written(row, 2)) == [3, 4, 5]  # "1 2", of two tokens
    assert drafted(lookup, written(row, 3)) == [4, 5, 9]  # "1 2 3", though "2 3" stood later
    assert drafted(lookup, written(row, 0, 2, 3)) == [0, 2, 3]  # "2 3" alone, its newest place
    assert drafted(lookup, row, count=1) == [0]
    assert drafted(lookup, row, count=0) == []


def test_a_text_that_repeats_itself_goes_on_doing_so() -> None:
    row = written(Row(0, 0, [4], seed=0, most=99), 5, 6, 5, 6)
    assert drafted(Lookup(5), row) == [5, 6, 5, 6, 5]


def test_it_finds_what_a_model_copies(tiny: Tiny) -> None:
    """A model whose greedy text runs into a circle."""
    model = tiny("qwen3")
    asked = [Request([5, 9, 14], [0]), Request([8], [1])]
    engine = NativeEngine(model, set(), drafter=lambda *_: Lookup(4))
    free = NativeEngine(model, set()).sample(asked, Sampling(30, temperature=0))
    assert [[one.ids for one in group] for group in engine.sample(asked, Sampling(30, temperature=0))] == [
        [one.ids for one in group] for group in free
    ]
    assert engine.tally.read < engine.tally.written
    assert engine.tally.stood[1]
