"""Functions of other libraries, asked in a process of their own.

There they run in the main thread, which `signal.alarm` needs and with it the timeouts of many of them (math_verify's
among others), beside the model that still writes; and one that hangs, exits or crashes takes nothing else along.
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rewards.conventions.bind import bound
from rewards.conventions.scoring import Ask, Scoring
from rewards.foreign import ANSWERING
from rewards.frames import FAILED, LATE, OK
from rewards.registry import Entry
from rewards.scores import RubricError, Scored
from rewards.workers import Pool, Worker

T = TypeVar("T")

SECONDS = 0.9 * ANSWERING
"""For one call. Sooner than whoever watches foreign code gives up this process for it."""

_processes = Pool(lambda: Worker(Path(__file__).parent / "process.py", search_path=True, trusted=True))


def scoring_of(entry: Entry[T], options: Mapping[str, object]) -> Scoring:
    """As `bound`, which it is held against first: an entry that is not of its prefix's shape is refused here."""
    scoring = bound(entry, options)
    source = entry.source_hash() if entry.file else ""

    def score(ask: Ask) -> list[Scored]:
        named = f"{scoring.who}, for problem {ask.problem.id!r},"
        try:
            request = pickle.dumps((entry, source, dict(options), ask))
        except Exception as error:  # what a problem set made may be of any class
            raise RubricError(f"{named} cannot be asked: what the problem holds cannot be sent to it") from error
        with _processes.worker() as process:
            status, answer = process.ask(request, SECONDS)
        if status == OK:
            return [Scored(*one) for one in json.loads(answer)]
        if status == FAILED:
            raise RubricError(answer.decode())
        end = f"did not answer within {SECONDS:g} s" if status == LATE else "ended its process"
        raise RubricError(f"{named} {end}")

    return replace(scoring, score=score)


def close() -> None:
    """End the processes that nobody asks at the moment."""
    _processes.close()
