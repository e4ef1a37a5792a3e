"""A stage's metrics.jsonl as columns of a bounded length, for plots."""

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

from pipeline.contract.checkpoints import METRICS
from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping
from pipeline.results.finite import is_number

MOST_POINTS = 240
"""Of a curve. A longer one is shown as the mean of as many spans of steps, with the least and the most of each."""

MOST_COLUMNS = 80
MOST_CELLS = 512
"""Experts of all layers together that are drawn one by one; of more, each layer's busiest one is."""

LOADED_POINTS = 60  # steps of which the load of experts is drawn

LOAD = "moe/load"

Column = list[float | None]


class Curves(TypedDict):
    """Columns of one length: `step`, and by the name of what was measured `value` with a value or None for each step;
    where it was thinned, `least` and `most` of each span of steps, too, and else nothing in these."""

    step: Column
    value: dict[str, Column]
    least: dict[str, Column]
    most: dict[str, Column]


def curves(rows: Sequence[JsonMapping]) -> Curves | None:
    """The numbers of rows that have a step; None where there are none."""
    steps = [row for row in rows if is_number(row.get("step"))]
    names = list(dict.fromkeys(name for row in steps for name, value in row.items() if is_number(value)))
    names = [name for name in names if name != "step"][:MOST_COLUMNS]
    if not names:
        return None
    spans = _spans(steps, MOST_POINTS)
    table = Curves(step=[span[0]["step"] for span in spans], value={}, least={}, most={})
    for name in names:
        found = [[row[name] for row in span if is_number(row.get(name))] for span in spans]
        table["value"][name] = [_short(math.fsum(values) / len(values)) if values else None for values in found]
        if len(spans) < len(steps):
            table["least"][name] = [_short(min(values)) if values else None for values in found]
            table["most"][name] = [_short(max(values)) if values else None for values in found]
    return table


def loads(rows: Sequence[JsonMapping]) -> list[dict[str, float | str]]:
    """How busy experts were by step, as {step, expert, load}: load is relative to an even share, and `expert` is
    LAYER.EXPERT, or LAYER alone with the load of its busiest where there are very many."""
    found = [row for row in rows if is_number(row.get("step")) and _is_load(row.get(LOAD))]
    if not found:
        return []
    cells: list[dict[str, float | str]] = []
    each = sum(map(len, found[-1][LOAD].values())) <= MOST_CELLS
    for span in _spans(found, LOADED_POINTS):
        row = span[-1]
        for layer, experts in row[LOAD].items():
            shown = {f"{layer}.{i}": load for i, load in enumerate(experts)} if each else {str(layer): max(experts)}
            cells += [{"step": row["step"], "expert": name, "load": _short(load)} for name, load in shown.items()]
    return cells


def rows_of(artifact: Path) -> list[JsonMapping]:
    """The rows of an artifact's metrics.jsonl; a stage that logs nothing has none."""
    return list(durable.rows(artifact / METRICS))


def _spans(rows: Sequence[JsonMapping], most: int) -> list[Sequence[JsonMapping]]:
    """The rows in at most so many runs of neighbours, as equal as can be."""
    count = min(len(rows), most)
    edges = [round(i * len(rows) / count) for i in range(count + 1)]
    return [rows[begin:end] for begin, end in itertools.pairwise(edges)]


def _is_load(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(
        isinstance(experts, list) and experts and all(map(is_number, experts)) for experts in value.values()
    )


def _short(value: float) -> float:
    """Four digits, which is more than a plot shows."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def span_of(values: Iterable[float | None]) -> tuple[float, float] | None:
    """The first and the last value that there is."""
    held = [value for value in values if value is not None]
    return (held[0], held[-1]) if held else None
