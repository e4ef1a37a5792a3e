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


def undrawn(rollouts: int, group_size: int, processes: int, *, inside: bool) -> str | None:
    """Why so many processes cannot do dynamic sampling, with vLLM `inside` of them or not; None where they can."""
    if rollouts // processes % group_size:
        return "dynamic sampling needs whole groups in every process: prompts_per_step is no multiple of their number"
    # trl's generate is a collective of all processes, which need not have as many groups without signal
    return "dynamic sampling with engine vllm is for one process" if inside and processes > 1 else None


def own(rows: Sequence[Row]) -> Sequence[Row]:
    """This process's part of rows that are dealt out in turn."""
    return rows[place() :: count()]
