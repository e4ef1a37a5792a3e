"""Vega-Lite specifications of what is measured during a stage, and of how a specification is drawn without a page.

A chart names its data; the page has each table once, in columns. https://vega.github.io/vega-lite/docs/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pipeline.disk.durable import JsonObject
from pipeline.results.page.tables import Curves, span_of

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8c564b", "#7f7f7f"]
"""After Okabe and Ito, who chose them for eyes that tell few colours apart. https://jfly.uni-koeln.de/color/"""

MOST_SERIES = len(COLOURS)


@dataclass(frozen=True)
class Group:
    """Columns that are drawn into one chart, in their order; `patterns` are those of fnmatch."""

    title: str
    axis: str
    patterns: Sequence[str]
    but: Sequence[str] = ()

    def of(self, names: Sequence[str]) -> list[str]:
        return [
            name for pattern in self.patterns for name in names
            if fnmatchcase(name, pattern) and not any(fnmatchcase(name, one) for one in self.but)
        ]


GROUPS = (
    Group("Reward", "mean of a round", ["reward"]),
    Group("Accuracy", "share of rollouts", ["accuracy"]),
    Group("Loss", "a token", ["loss"]),
    Group("Skill, as it was probed", "share", ["probe/*"]),
    Group("Parts of the reward", "mean, before weights", ["reward/*"], but=["*/least", "*/most"]),
    Group("Verdicts", "share of rollouts", ["verdict/*"]),
    Group("Length of completions", "tokens", ["length"]),
    Group("Length of thinking by effort", "tokens", ["effort/*/thinking"]),
    Group("Length of completions by effort", "tokens", ["effort/*/length"]),
    Group("Accuracy by effort", "share of rollouts", ["effort/*/accuracy"]),
    Group("Thinking that its budget closed", "share of rollouts", ["thinking_cut"]),
    Group("Calls of tools", "calls a rollout", ["calls"]),
    Group("Entropy", "nats a token", ["entropy"]),
    Group("Divergence", "nats a token", ["kl", "*/kl", "*divergence*", "replay/kl*"]),
    Group("Load of the busiest expert", "times the mean", ["moe/max_over_mean"]),
    Group("Dead experts", "number", ["moe/dead"]),
    Group("Gradient norm", "", ["gradient_norm", "grad_norm"]),
)


@dataclass(frozen=True)
class Chart:
    """A picture and what it says in words. Its data are `values`, or the columns `names` of the page's `table`, each as
    rows of {step, name, value} and, where it was thinned, {least, most}."""

    title: str
    spec: JsonObject
    words: str
    values: Sequence[Mapping[str, object]] = field(default=())
    table: str = ""
    names: Sequence[str] = ()


def of_stage(table: str, columns: Curves, cells: Sequence[Mapping[str, object]]) -> list[Chart]:
    """The charts of a stage whose curves the page has under the name `table`."""
    names = list(columns["value"])
    found: list[Chart] = []
    used: set[str] = set()
    for group in GROUPS:
        chosen = [name for name in dict.fromkeys(group.of(names)) if name not in used][:MOST_SERIES]
        used |= set(chosen)
        if chosen:
            found.append(_curves(group, table, chosen, columns))
    if cells:
        found.append(_heat(cells))
    others = [name for name in names if name not in used]
    return found + [_curves(Group(name, "", [name]), table, [name], columns) for name in others]


def _curves(group: Group, table: str, names: Sequence[str], columns: Curves) -> Chart:
    ends = {name: found for name in names if (found := span_of(columns["value"][name]))}
    said = ", ".join(f"{name} from {first:g} to {last:g}" for name, (first, last) in ends.items())
    value: JsonObject = {"field": "value", "type": "quantitative", "title": group.axis or None,
                         "scale": {"zero": False}}
    colour: JsonObject = {"field": "name", "type": "nominal", "title": None, "sort": list(names),
                          "scale": {"domain": list(names), "range": COLOURS[: len(names)]}, "legend": None}
    if len(names) > 1:
        colour["legend"] = {"orient": "bottom", "columns": 2, "labelLimit": 150, "symbolOpacity": 1}
    shown: list[JsonObject] = [{"field": "step"}, {"field": "name", "title": "of"},
                               {"field": "value", "format": ".4~g"}]
    layers: list[JsonObject] = []
    if columns["least"]:
        shown += [{"field": end, "format": ".4~g"} for end in ("least", "most")]
        band = {"y": {**value, "field": "least"}, "y2": {"field": "most"}}
        layers.append({"mark": {"type": "area", "opacity": 0.2}, "encoding": {"x": _STEP, "color": colour, **band}})
    layers.append({"mark": {"type": "line", "strokeWidth": 1.8}, "params": [_ZOOM],
                   "encoding": {"x": _STEP, "y": value, "color": colour}})
    layers.append({"mark": {"type": "point", "filled": True, "size": 60}, "params": [_NEAR],
                   "encoding": {"x": _STEP, "y": value, "color": colour, "opacity": _WHEN_NEAR, "tooltip": shown}})
    return Chart(group.title, {"layer": layers}, f"{group.title} by step: {said or 'nothing was measured'}.",
                 table=table, names=names)


_STEP: JsonObject = {"field": "step", "type": "quantitative", "title": "step", "axis": {"tickMinStep": 1}}

_ZOOM: JsonObject = {
    # A wheel without a key scrolls the page.
    "name": "zoom", "bind": "scales",
    "select": {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey]"},
}

_NEAR: JsonObject = {"name": "near", "select": {
    "type": "point", "nearest": True, "on": "pointermove", "clear": "pointerout",
}}

_WHEN_NEAR: JsonObject = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}


def _heat(cells: Sequence[Mapping[str, object]]) -> Chart:
    experts = list(dict.fromkeys(str(cell["expert"]) for cell in cells))
    one_by_one = "." in experts[0]
    gap = 0 if len({cell["step"] for cell in cells}) > 30 else 0.05
    spec: JsonObject = {
        "height": len(experts) * max(4, min(14, 300 // len(experts))) + 46,  # with the axis
        "mark": "rect",
        "encoding": {
            "x": {"field": "step", "type": "ordinal", "axis": {"labelOverlap": True, "labelAngle": 0},
                  "scale": {"paddingInner": gap}},
            "y": {"field": "expert", "type": "ordinal", "sort": experts, "axis": {"labelOverlap": True},
                  "title": "layer.expert" if one_by_one else "layer"},
            "color": {"field": "load", "type": "quantitative", "title": "times the mean",
                      "scale": {"scheme": "blueorange", "domainMid": 1}},
            "tooltip": [{"field": "step"}, {"field": "expert"}, {"field": "load", "format": ".3~g"}],
        },
    }
    last = [cell for cell in cells if cell["step"] == cells[-1]["step"]]
    most = max(last, key=lambda cell: float(str(cell["load"])))
    title = "Load of experts" if one_by_one else "Load of each layer's busiest expert"
    words = f"{title} by step; at the end {most['expert']} has the most, {most['load']} times the mean."
    return Chart(title, spec, words, values=cells)
