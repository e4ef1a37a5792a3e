"""Of several teachers that each have traces of their own, for each problem those of the teacher that is right most
often: by the verdicts of the `sample` stages that the traces come from, whose rows say how many of a problem's rollouts
were right. A problem is told by its question, which rows have a short text of (`asked`): their ids say less.

Teachers that are equally often right are taken in the order in which the recipe names them. Left out is to weigh
teachers by how often they are right (the mean over a problem's teachers is `method: ensemble` with one dataset).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from pipeline.contract import dataset
from pipeline.contract.dataset import FILE, Selection
from pipeline.contract.dataset.verdict import ASKED, RATE
from pipeline.contract.errors import StageError
from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.disk.made import made_once
from pipeline.distillation.lesson import Kept
from pipeline.distillation.teachers import Told
from pipeline.recipe import inputs

VERSION = 2
"""Raised when other traces are chosen of the same."""

_TEACHER = "teacher"


class Traces(NamedTuple):
    """A teacher's, by what the recipe calls them and where they are."""

    label: str
    path: Path
    selection: Selection


class Best(NamedTuple):
    """The folder of a dataset of the traces that were chosen, and of each of its rows the number of its teacher."""

    folder: Path
    teachers: Sequence[int]


def best(cache: Path, traces: Sequence[Traces], note: Callable[[str], None] | None = None) -> Best:
    """The traces of each problem's best teacher, from `cache` where they are there. Raises StageError for a row that
    says nothing of its problem or of how often its teacher was right, and where `cache` cannot be written."""
    try:
        # Of an artifact its rows, which vLLM draws otherwise each time, under one fingerprint.
        content = [inputs.fingerprint_of_path(rows if (rows := one.path / FILE).is_file() else one.path)
                   for one in traces]
        parts = [VERSION, content, [asdict(one.selection) for one in traces]]
        folder = cache / hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
        found = made_once(folder, _read, lambda making: _write(making, traces), (OSError, ValueError, KeyError))
    except OSError as error:
        raise StageError(f"the best teachers' traces cannot be kept in {cache} ({error.strerror or error})") from error
    if note:
        counts = Counter(found.teachers)
        each = ", ".join(f"{counts[number]:,} of {one.label}" for number, one in enumerate(traces))
        note(f"traces of each problem's best teacher: {each}")
    return found


def _read(folder: Path) -> Best:
    with (folder / FILE).open(encoding="utf-8") as rows:
        return Best(folder, [int(json.loads(row)[_TEACHER]) for row in rows])


def _write(making: Path, traces: Sequence[Traces]) -> None:
    rates: list[dict[str, float]] = []
    kept: list[dict[str, list[JsonObject]]] = []
    for one in traces:
        groups: dict[str, list[JsonObject]] = {}
        found: dict[str, list[float]] = {}
        for row in dataset.records(one.path, one.selection):
            question, right = _verdict(one, row)
            groups.setdefault(question, []).append(row)
            found.setdefault(question, []).append(right)
        # A set may have a question twice.
        rates.append({question: mean(some) for question, some in found.items()})
        kept.append(groups)
    with (making / FILE).open("w", encoding="utf-8") as file:
        for question, number in _chosen(rates):
            for row in kept[number][question]:
                file.write(json.dumps({**row, _TEACHER: number}) + "\n")
    durable.sync_files(making)


def require_verdicts(traces: Traces) -> None:
    """Raises StageError where the first row says nothing of its problem or of how often its teacher was right."""
    for row in islice(dataset.records(traces.path, traces.selection), 1):
        _verdict(traces, row)


def _verdict(traces: Traces, row: Mapping[str, object]) -> tuple[str, float]:
    question, right = row.get(ASKED), row.get(RATE)
    if not isinstance(question, str) or not isinstance(right, int | float):
        raise StageError(f"a row of {traces.label} does not say what it was asked, or how often its teacher was right "
                         f"({ASKED}, {RATE}), as rows of a sample stage do: draw them anew, or give method ensemble "
                         "one dataset")
    return question, float(right)


def _chosen(rates: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, int]]:
    """Each question with the number of its best teacher."""
    for question in dict.fromkeys(question for rate in rates for question in rate):
        yield question, max(range(len(rates)), key=lambda number: (rates[number].get(question, -1.0), -number))


class ByTeacher:
    """Distributions of several teachers, each over its own rows."""

    def __init__(self, told: Sequence[Kept], teachers: Sequence[int]) -> None:
        self._told, self._teachers = told, teachers

    def of(self, row: int) -> Told:
        return self._told[self._teachers[row]].of(row)
