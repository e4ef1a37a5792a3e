"""The lineage of a run as a picture: what was made from what, and what each step was worth."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.results.page.charts import COLOURS, Chart
from pipeline.results.report import shared
from pipeline.store.store import Artifact

Point = tuple[float, float]

WIDTH, HEIGHT = 0.66, 0.6  # of a box, where neighbours are 1 apart


@dataclass(frozen=True)
class Edge:
    """`source` went into `target`; `gain` is what pass@1 rose by on the problem sets that every model was measured
    on."""

    source: str
    target: str
    gain: float | None


def of_run(artifacts: Mapping[str, Artifact], models: JsonMapping) -> Chart | None:
    """Models and datasets of a run, from left to right; reports are left out, since their numbers stand beside the
    models. None where nothing was made."""
    models = {name: {**measured, "problems": _of_sets(measured, shared(models))} for name, measured in models.items()}
    made = {name: one for name, one in artifacts.items() if one.manifest["makes"] != "report"}
    if not made:
        return None
    edges = edges_of(made, models)
    layout = laid_out(list(made), edges)
    boxes = [_box(name, made[name], models, *layout.places[name]) for name in made]
    makes = [made[edge.source].manifest["makes"] for edge in edges]
    lines = [line for way, what in zip(layout.ways, makes, strict=True) for line in _lines(way, what)]
    heads = [_head(edge, way, what) for edge, way, what in zip(edges, layout.ways, makes, strict=True)]
    said = "; ".join(_said(edge) for edge in edges) or ", ".join(made)
    return Chart("Lineage", _spec(boxes, lines, heads), f"What was made from what: {said}.", boxes)


def _of_sets(measured: JsonMapping, sets: Sequence[str]) -> JsonObject:
    return {name: numbers for name, numbers in measured["problems"].items() if name in sets}


def edges_of(made: Mapping[str, Artifact], models: JsonMapping) -> list[Edge]:
    """An edge for each input that another of these stages has made."""
    return [
        Edge(reference, name, gain(models.get(reference), models.get(name)))
        for name, artifact in made.items() for source in artifact.manifest["inputs"]
        # Columns and parts may stand behind the name of a dataset.
        if (reference := str(source).partition("?")[0]) in made and reference != name
    ]


def gain(before: JsonMapping | None, after: JsonMapping | None) -> float | None:
    """By how much pass@1 rose, as the mean over the problem sets that both have a score on; None without any."""
    if before is None or after is None:
        return None
    rises = [
        after["problems"][name]["pass@1"] - numbers["pass@1"] for name, numbers in before["problems"].items()
        if numbers.get("pass@1") is not None and after["problems"].get(name, {}).get("pass@1") is not None
    ]
    return sum(rises) / len(rises) if rises else None


class Layout(NamedTuple):
    """Where everything stands, neighbours 1 apart: (x, y) of each stage, and for each edge the points that its line
    goes through."""

    places: dict[str, Point]
    ways: list[list[Point]]


def laid_out(names: Sequence[str], edges: Sequence[Edge]) -> Layout:
    """A stage stands one to the right of the last of what it was made from, and near the height of what it was made
    from. An edge that passes others' columns has a place of its own there, which edges from one stage share: a small
    Sugiyama layout (Sugiyama et al. 1981), whose columns are ordered once, from left to right. `names` are in the
    recipe's order, in which nothing is made from what comes later."""
    sources = {name: [edge.source for edge in edges if edge.target == name] for name in names}
    depth: dict[str, int] = {}
    for name in names:
        depth[name] = 1 + max((depth.get(source, 0) for source in sources[name]), default=-1)
    reach = {name: max((depth[edge.target] for edge in edges if edge.source == name), default=0) for name in names}
    heights: dict[tuple[str, int], int] = {}
    for column in range(max(depth.values(), default=0) + 1):
        before = {source: heights.get((source, column - 1), 0) for source in names}
        standing = {name: _mean([before[source] for source in sources[name]])
                    for name in names if depth[name] == column}
        passing = {name: float(before[name]) for name in names if depth[name] < column < reach[name]}
        taken: set[int] = set()
        # Stages first: lines go around them.
        for wanted in (standing, passing):
            for name, height in sorted(wanted.items(), key=lambda one: one[1]):
                heights[name, column] = _free(round(height), taken)
                taken.add(heights[name, column])
    places = {name: (float(depth[name]), float(heights[name, depth[name]])) for name in names}
    return Layout(places, [_way(edge, depth, heights) for edge in edges])


def _free(wanted: int, taken: set[int]) -> int:
    """The nearest height that is free, the lower one on the page of two."""
    return next(height for step in range(len(taken) + 1) for height in (wanted + step, wanted - step)
                if height not in taken)


def _way(edge: Edge, depth: Mapping[str, int], heights: Mapping[tuple[str, int], int]) -> list[Point]:
    begin, end = depth[edge.source], depth[edge.target]
    points = [(begin + WIDTH / 2, float(heights[edge.source, begin]))]
    for column in range(begin + 1, end):
        height = float(heights[edge.source, column])
        points += [(column - WIDTH / 2, height), (column + WIDTH / 2, height)]
    return [*points, (end - WIDTH / 2, float(heights[edge.target, end]))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _box(name: str, artifact: Artifact, models: JsonMapping, x: float, y: float) -> dict[str, object]:
    manifest = artifact.manifest
    scores = [numbers["pass@1"] for numbers in models.get(name, {}).get("problems", {}).values()
              if numbers.get("pass@1") is not None]
    dataset = manifest["makes"] == "dataset"
    below = f"{sum(scores) / len(scores):.1%}" if scores else "a dataset" if dataset else "not measured"
    return {"x": x - WIDTH / 2, "x2": x + WIDTH / 2, "y": y - HEIGHT / 2, "y2": y + HEIGHT / 2, "cx": x, "cy": y,
            "name": name, "kind": manifest["kind"], "makes": manifest["makes"], "score": below,
            "seconds": manifest["seconds"]}


def _lines(way: Sequence[Point], makes: str) -> list[dict[str, object]]:
    return [{"x": x, "y": y, "x2": x2, "y2": y2, "makes": makes} for (x, y), (x2, y2) in itertools.pairwise(way)]


def _head(edge: Edge, way: Sequence[Point], makes: str) -> dict[str, object]:
    (x, y), (x2, y2) = way[-2:]
    return {"x2": x2, "y2": y2, "makes": makes, "mx": (x + x2) / 2, "my": (y + y2) / 2,
            "gain": "" if edge.gain is None else f"{100 * edge.gain:+.1f}"}


def _said(edge: Edge) -> str:
    rise = "" if edge.gain is None else f", which changed pass@1 by {100 * edge.gain:+.1f} points"
    return f"{edge.source} into {edge.target}{rise}"


def _spec(
    boxes: Sequence[JsonMapping], lines: Sequence[JsonMapping], heads: Sequence[JsonMapping]
) -> JsonObject:
    columns = 1 + max(float(box["cx"]) for box in boxes)
    heights = [*(float(box["cy"]) for box in boxes), *(float(line["y2"]) for line in lines)]
    lows, highs = min(heights), max(heights)
    rows = 1 + highs - lows

    def place(field: str, axis: str) -> JsonObject:
        domain = [-0.5, columns - 0.5] if axis == "x" else [highs + 0.5, lows - 0.5]
        return {"field": field, "type": "quantitative", "axis": None, "scale": {"domain": domain, "nice": False}}

    colour = {"field": "makes", "type": "nominal", "legend": None,
              "scale": {"domain": ["model", "dataset"], "range": [COLOURS[0], COLOURS[4]]}}
    shown = [{"field": "name"}, {"field": "kind"}, {"field": "score", "title": "pass@1"},
             {"field": "seconds", "format": ".0f"}]
    centre = {"x": place("cx", "x"), "y": place("cy", "y")}
    return {
        "width": round(168 * columns), "height": round(66 * rows),
        "layer": [
            {"data": {"values": list(lines)}, "mark": {"type": "rule", "strokeWidth": 1.6, "opacity": 0.75},
             "encoding": {"x": place("x", "x"), "y": place("y", "y"), "x2": {"field": "x2"}, "y2": {"field": "y2"},
                          "color": colour,
                          "strokeDash": {"field": "makes", "type": "nominal", "legend": None,
                                         "scale": {"domain": ["model", "dataset"], "range": [[1, 0], [5, 4]]}}}},
            {"data": {"values": list(heads)}, "mark": {"type": "point", "shape": "triangle-right", "filled": True,
                                                        "size": 70, "opacity": 1, "xOffset": -3},
             "encoding": {"x": place("x2", "x"), "y": place("y2", "y"), "color": colour}},
            {"mark": {"type": "rect", "cornerRadius": 6, "fillOpacity": 0.14, "strokeWidth": 1.5},
             "encoding": {"x": place("x", "x"), "x2": {"field": "x2"}, "y": place("y", "y"), "y2": {"field": "y2"},
                          "color": colour, "stroke": colour, "tooltip": shown}},
            {"mark": {"type": "text", "fontWeight": "bold", "fontSize": 12, "dy": -6, "limit": 104},
             "encoding": {**centre, "text": {"field": "name"}}},
            {"mark": {"type": "text", "fontSize": 11, "dy": 9, "limit": 104},
             "encoding": {**centre, "text": {"field": "score"}}},
            {"data": {"values": [head for head in heads if head["gain"]]},
             "mark": {"type": "text", "fontSize": 11, "fontWeight": "bold", "dy": -8},
             "encoding": {"x": place("mx", "x"), "y": place("my", "y"), "text": {"field": "gain"}}},
        ],
    }
