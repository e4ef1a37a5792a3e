"""Prompts and answers against a model's context."""

import pytest

from eval.protocol import Prompting
from pipeline.contract.errors import StageError
from pipeline.contract.room import Room, limit_of, require_room


def room(completion: int, beyond: bool = False) -> Room:
    return Room(["base"], Prompting(), completion, beyond)


@pytest.mark.parametrize(("completion", "context", "beyond"), [(20, 50, False), (21, 50, True), (99, None, False)])
def test_what_fits_passes(completion: int, context: int | None, beyond: bool) -> None:
    require_room([[1] * 10, [1] * 30], room(completion, beyond), context, "zero: base")


def test_what_does_not_says_how_many_and_what_to_set() -> None:
    with pytest.raises(StageError) as caught:
        require_room([[1] * 10, [1] * 30, [1] * 31], room(21), 50, "zero: base")
    assert str(caught.value) == (
        "zero: base: 2 of 3 prompts, the longest of 31 tokens, and answers of up to 21 do not fit in its context of "
        "50; set max_completion_tokens to at most 19, extend the context first (kind: extend), or set "
        "beyond_context: true"
    )
    with pytest.raises(StageError, match="leave the longest out"):
        require_room([[1] * 50], room(1), 50, "zero: base")


def test_every_family_says_its_context_in_its_own_way() -> None:
    assert limit_of({"max_position_embeddings": 96}) == 96
    assert limit_of({"max_seq_len": 64, "max_position_embeddings": None}) == 64
    assert limit_of({"n_positions": 40}) == 40
    assert limit_of({"hidden_size": 8}) is None
