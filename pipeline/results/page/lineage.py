"""The lineage of a run as a picture: what was made from what, and what each step was worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.results.page.charts import COLOURS, Chart
from pipeline.store.store import Artifact

WIDTH, HEIGHT = 0.66, 0.6  # of a box, where neighbours are 1 apart


@dataclass(frozen=True)
class Edge:
    """`source` went into `target`; `gain` is what pass@1 rose by on the problem sets that both were measured on."""

    source: str
    target: str
    gain: float | None


def of_run(artifacts: Mapping[str, Artifact], models: JsonMapping) -> Chart | None:
    """Models and datasets of a run, from left to right; reports are left out, since their numbers stand beside the
    models. None where nothing was made."""
    made = {name: one for name, one in artifacts.items() if one.manifest["makes"] != "report"}
    if not made:
        return None
    edges = edges_of(made, models)
    places = placed(list(made), edges)
    boxes = [_box(name, made[name], models, *places[name]) for name in made]
    arrows = [_arrow(edge, places, made[edge.source].manifest["makes"]) for edge in edges]
    said = "; ".join(_said(edge) for edge in edges) or ", ".join(made)
    return Chart("Lineage", _spec(boxes, arrows), f"What was made from what: {said}.", boxes)


def edges_of(made: Mapping[str, Artifact], models: JsonMapping) -> list[Edge]:
    """An edge for each input that another of these stages has made."""
    return [
        Edge(reference, name, gain(models.get(reference), models.get(name)))
        for name, artifact in made.items() for source in artifact.manifest["inputs"]
        # Columns and parts may stand behind the name of a dataset.
        if (reference := str(source).partition("?")[0]) in made and reference != name
    ]


def gain(before: JsonMapping | None, after: JsonMapping | None) -> float | None:
    """By how much pass@1 rose, as the mean over the problem sets that both were measured on; None without any."""
    if before is None or after is None:
        return None
    rises = [
        after["problems"][name]["pass@1"] - numbers["pass@1"] for name, numbers in before["problems"].items()
        if numbers.get("pass@1") is not None and after["problems"].get(name, {}).get("pass@1") is not None
    ]
    return sum(rises) / len(rises) if rises else None


def placed(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, tuple[float, float]]:
    """(x, y) of each: a stage stands one to the right of the last of what it was made from, and near the height of
    them. `names` are in the recipe's order, in which nothing is made from what comes later."""
    sources = {name: [edge.source for edge in edges if edge.target == name] for name in names}
    depth: dict[str, int] = {}
    for name in names:
        depth[name] = 1 + max((depth.get(source, 0) for source in sources[name]), default=-1)
    height: dict[str, float] = {}
    for column in range(max(depth.values(), default=0) + 1):
        taken: set[float] = set()
        # Those whose sources stand high come first, so that fewer arrows cross.
        for name in sorted((name for name in names if depth[name] == column),
                           key=lambda name: _mean([height[source] for source in sources[name]])):
            wanted = round(_mean([height[source] for source in sources[name]]))
            while wanted in taken:
                wanted += 1
            taken.add(wanted)
            height[name] = wanted
    return {name: (depth[name], height[name]) for name in names}


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


def _arrow(edge: Edge, places: Mapping[str, tuple[float, float]], makes: str) -> dict[str, object]:
    (x, y), (x2, y2) = places[edge.source], places[edge.target]
    begin, end = x + WIDTH / 2, x2 - WIDTH / 2
    return {"x": begin, "y": y, "x2": end, "y2": y2, "makes": makes,
            # Nearer to the target, where fewer arrows meet.
            "mx": begin + 0.62 * (end - begin), "my": y + 0.62 * (y2 - y),
            "gain": "" if edge.gain is None else f"{100 * edge.gain:+.1f}"}


def _said(edge: Edge) -> str:
    rise = "" if edge.gain is None else f", which changed pass@1 by {100 * edge.gain:+.1f} points"
    return f"{edge.source} into {edge.target}{rise}"


def _spec(boxes: Sequence[JsonMapping], arrows: Sequence[JsonMapping]) -> JsonObject:
    columns = 1 + max(float(box["cx"]) for box in boxes)
    lows, highs = min(float(box["cy"]) for box in boxes), max(float(box["cy"]) for box in boxes)
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
            {"data": {"values": list(arrows)}, "mark": {"type": "rule", "strokeWidth": 1.6, "opacity": 0.75},
             "encoding": {"x": place("x", "x"), "y": place("y", "y"), "x2": {"field": "x2"}, "y2": {"field": "y2"},
                          "color": colour,
                          "strokeDash": {"field": "makes", "type": "nominal", "legend": None,
                                         "scale": {"domain": ["model", "dataset"], "range": [[1, 0], [5, 4]]}}}},
            {"data": {"values": list(arrows)}, "mark": {"type": "point", "shape": "triangle-right", "filled": True,
                                                        "size": 70, "opacity": 1, "xOffset": -3},
             "encoding": {"x": place("x2", "x"), "y": place("y2", "y"), "color": colour}},
            {"mark": {"type": "rect", "cornerRadius": 6, "fillOpacity": 0.14, "strokeWidth": 1.5},
             "encoding": {"x": place("x", "x"), "x2": {"field": "x2"}, "y": place("y", "y"), "y2": {"field": "y2"},
                          "color": colour, "stroke": colour, "tooltip": shown}},
            {"mark": {"type": "text", "fontWeight": "bold", "fontSize": 12, "dy": -6, "limit": 104},
             "encoding": {**centre, "text": {"field": "name"}}},
            {"mark": {"type": "text", "fontSize": 11, "dy": 9, "limit": 104},
             "encoding": {**centre, "text": {"field": "score"}}},
            {"data": {"values": [arrow for arrow in arrows if arrow["gain"]]},
             "mark": {"type": "text", "fontSize": 11, "fontWeight": "bold", "dy": -8},
             "encoding": {"x": place("mx", "x"), "y": place("my", "y"), "text": {"field": "gain"}}},
        ],
    }
