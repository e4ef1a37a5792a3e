"""Charts of what models were measured to be able to do: scores with their intervals, and what more tokens buy."""

from collections.abc import Mapping, Sequence

from eval.scaling import Point
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.results.page.charts import COLOURS, Chart

Curves = Mapping[str, Mapping[str, Sequence[Point]]]
"""Points by model and problem set, as `pipeline.results.report.curves_of` has them."""

_PERCENT: JsonObject = {"format": ".0%"}


def of_models(models: JsonMapping) -> list[Chart]:
    """pass@1 of every model with its 95% interval, a chart for each problem set."""
    sets = list(dict.fromkeys(name for measured in models.values() for name in measured["problems"]))
    return [chart for name in sets if (chart := _scores(models, name))]


def _scores(models: JsonMapping, problems: str) -> Chart | None:
    values = _values(models, problems)
    if not values:
        return None
    said = ", ".join(f"{value['model']} {value['score']:.1%} ({value['low']:.1%} to {value['high']:.1%})"
                     for value in values)
    return Chart(problems, _points(values), f"pass@1 on {problems}: {said}.", values)


def side_by_side(models: JsonMapping, sets: Sequence[str]) -> Chart:
    """pass@1 of every model on several problem sets in one chart."""
    values = [value for name in sets for value in _values(models, name)]
    spec = _points(values)
    spec["height"] = 2 * spec["height"] // len(sets)
    order = {"field": "set", "type": "nominal", "sort": list(sets)}
    spec["encoding"] |= {"yOffset": order, "color": {
        **order, "title": None, "legend": {"orient": "top"},
        "scale": {"domain": list(sets), "range": COLOURS[: len(sets)]},
    }}
    return Chart("pass@1 on held-out problems", spec, "", values)


def _values(models: JsonMapping, problems: str) -> list[JsonObject]:
    """A row for each model that has a score on this problem set."""
    values = []
    for model, measured in models.items():
        numbers = measured["problems"].get(problems)
        if numbers and numbers.get("pass@1") is not None:
            low, high = numbers["pass@1_ci95"]
            values.append({"model": model, "set": problems, "score": numbers["pass@1"], "low": low, "high": high,
                           "problems": numbers["n"], "rollouts": numbers["rollouts"]})
    return values


def _points(values: Sequence[JsonMapping]) -> JsonObject:
    """Points with their intervals and numbers, models one below the other in their order."""
    names = list(dict.fromkeys(value["model"] for value in values))
    place: JsonObject = {"field": "model", "type": "nominal", "sort": names, "title": None, "axis": {"labelLimit": 160}}
    shown = [{"field": "model"}, *({"field": name, "format": ".1%"} for name in ("score", "low", "high")),
             {"field": "problems"}, {"field": "rollouts", "title": "rollouts of each"}]
    scale = {"domain": [0, 1.15]}  # so that a number has room behind the highest score
    ticks = {**_PERCENT, "values": [0, 0.25, 0.5, 0.75, 1]}
    return {
        "height": 26 * len(names) + 46,  # with the axis
        "encoding": {"y": place, "tooltip": shown},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {
                "x": {"field": "low", "type": "quantitative", "title": "pass@1, with its 95% interval", "scale": scale,
                      "axis": ticks},
                "x2": {"field": "high"}}},
            {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
             "encoding": {"x": {"field": "score", "type": "quantitative", "scale": scale}}},
            {"mark": {"type": "text", "align": "left", "dx": 8, "fontSize": 11},
             "encoding": {"x": {"field": "high", "type": "quantitative", "scale": scale},
                          "text": {"field": "score", "format": ".1%"}}},
        ],
    }


def of_curves(curves: Curves) -> list[Chart]:
    """For each problem set, by the number of rollouts k: how often one of k is right, and what a vote of k gets against
    the tokens that they take."""
    sets = list(dict.fromkeys(name for found in curves.values() for name in found))
    found = []
    for name in sets:
        values = [
            {"model": model, "k": point["k"], "tokens": point["tokens"], "way": _WAYS[way], "score": point[way],
             "low": point[f"{way}_ci95"][0], "high": point[f"{way}_ci95"][1]}
            for model, measured in curves.items() for point in measured.get(name, ()) for way in _WAYS if way in point
        ]
        best = [value for value in values if value["way"] == _WAYS["best"]]
        if best:
            found.append(_against("k", f"pass@k on {name}", "rollouts k", best))
            others = [value for value in values if value["way"] != _WAYS["best"]]
            found += [_against("tokens", f"Accuracy against tokens on {name}, by {way}", "tokens a problem", chosen)
                      for way in dict.fromkeys(str(value["way"]) for value in others)
                      if (chosen := [value for value in others if value["way"] == way])]
    return found


def of_efforts(asked: Curves) -> list[Chart]:
    """For each problem set, accuracy against the tokens that low, medium and high effort take, and thinking budgets
    where models were asked with some: then each effort has a line of its own."""
    sets = list(dict.fromkeys(name for found in asked.values() for name in found))
    found = []
    for name in sets:
        budgets = any(point["budget"] for measured in asked.values() for point in measured.get(name, ()))
        values = [
            {"model": f"{model}, {point['effort']}" if budgets and point["effort"] else model,
             "effort": point["effort"] or "none", "budget": point["budget"] or "none", "tokens": point["tokens"],
             "thinking": point.get("thinking"), "score": point["pass@1"], "low": point["pass@1_ci95"][0],
             "high": point["pass@1_ci95"][1]}
            for model, measured in asked.items() for point in measured.get(name, ())
            if point.get("pass@1") is not None
        ]
        if values:
            by = "effort and thinking budget" if budgets else "effort"
            found.append(_against("tokens", f"Accuracy against tokens on {name}, by {by}", "tokens a rollout", values))
    return found


_WAYS = {"best": "any of k", "vote": "the majority's vote", "rule": "the recipe's rule"}


def _against(field: str, title: str, axis: str, values: Sequence[Mapping[str, object]]) -> Chart:
    names = list(dict.fromkeys(str(value["model"]) for value in values))
    colour: JsonObject = {"field": "model", "type": "nominal", "sort": names, "title": None,
                          "legend": {"orient": "bottom", "columns": 3, "symbolOpacity": 1},
                          "scale": {"domain": names, "range": [COLOURS[i % len(COLOURS)] for i in range(len(names))]}}
    x: JsonObject = {"field": field, "type": "quantitative", "title": axis, "scale": {"type": "log", "base": 2},
                     "axis": {"grid": True, "format": ",.0f", "labelOverlap": True}}
    y: JsonObject = {"field": "score", "type": "quantitative", "title": None, "axis": _PERCENT}
    told = [{"field": "model"}, {"field": "k", "title": "rollouts k"}, {"field": "effort"}, {"field": "budget"},
            {"field": "tokens", "format": ".0f"}, {"field": "thinking", "format": ".1f"},
            *({"field": name, "format": ".1%"} for name in ("score", "low", "high"))]
    shown = [one for one in told if one["field"] in values[0]]
    spec: JsonObject = {
        "encoding": {"x": x, "color": colour},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.15},
             "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}}},
            {"mark": {"type": "line", "point": {"size": 36}},
             "encoding": {"y": y, "tooltip": shown}},
        ],
    }
    ends = {name: [value for value in values if value["model"] == name] for name in names}
    said = ", ".join(f"{name} from {found[0]['score']:.1%} to {found[-1]['score']:.1%}" for name, found in ends.items())
    return Chart(title, spec, f"{title}: {said}.", values)
