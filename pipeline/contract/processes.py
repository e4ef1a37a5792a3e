"""The processes that a stage runs in: one, or as many as `accelerate launch` has started."""

import os
from collections.abc import Sequence
from typing import TypeVar

from pipeline.contract.errors import StageError

Row = TypeVar("Row")


def count() -> int:
    """How many processes share the stage."""
    # The launcher's variables: torch.distributed may not be loaded, or not be there yet.
    return int(os.environ.get("WORLD_SIZE", "1"))


def place() -> int:
    """This process's number among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this is the process that writes what all have made."""
    return place() == 0


def share_of(batch: int) -> int:
    """What each process takes of a batch, whose size in a recipe is that of all together. Raises StageError."""
    if fault := unshared(batch, count()):
        raise StageError(fault)
    return batch // count()


def unshared(batch: int, processes: int) -> str | None:
    """Why a batch has no equal shares for so many processes; None where it has."""
    return f"a batch of {batch} does not split over {processes} processes" if batch % processes else None


def own(rows: Sequence[Row]) -> Sequence[Row]:
    """This process's part of rows that are dealt out in turn."""
    return rows[place() :: count()]
