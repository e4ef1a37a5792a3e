"""Charts drawn: Vega's libraries as one script for a page, and a chart as a picture without any browser.

Both come from the package vl-convert-python, which holds Vega, Vega-Lite and Vega-Embed whole.
"""

import functools
from collections.abc import Mapping

from pipeline.disk.durable import JsonObject
from pipeline.results.page.charts import COLOURS, Chart
from pipeline.results.page.tables import Curves
from rewards.lazy import lazy

with lazy:
    import vl_convert

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"

_GLOBAL = "window.vegaEmbed = vegaEmbed;"
_INK, _SOFT, _GRID = "#1d2733", "#4f5b67", "#dfe4e8"


@functools.cache
def libraries() -> str:
    """The script that defines `vegaEmbed`, about 0.9 MB, which fetches nothing."""
    text: str = vl_convert.javascript_bundle(_GLOBAL)
    return text


def values_of(chart: Chart, tables: Mapping[str, Curves]) -> list[JsonObject]:
    """The rows of a chart's data, as page.js makes them."""
    if not chart.names:
        return [dict(value) for value in chart.values]
    columns = tables[chart.table]
    rows: list[JsonObject] = []
    for name in chart.names:
        for i, step in enumerate(columns["step"]):
            if columns["value"][name][i] is None:
                continue
            row = {"step": step, "name": name, "value": columns["value"][name][i]}
            if columns["least"]:
                row |= {"least": columns["least"][name][i], "most": columns["most"][name][i]}
            rows.append(row)
    return rows


def as_png(chart: Chart, tables: Mapping[str, Curves] | None = None, width: int = 560) -> bytes:
    """A chart as a picture, on white, twice as fine as its size in CSS pixels."""
    spec = {"$schema": SCHEMA, "width": width, "height": 200, "data": {"values": values_of(chart, tables or {})},
            "title": chart.title, "config": CONFIG, "padding": 12, **chart.spec}
    drawn: bytes = vl_convert.vegalite_to_png(spec, scale=2)
    return drawn


CONFIG: JsonObject = {
    "background": "white", "font": "DejaVu Sans, Arial, sans-serif", "mark": {"color": COLOURS[0]},
    "view": {"stroke": None}, "text": {"color": _INK}, "rule": {"color": _SOFT},
    "axis": {"labelColor": _SOFT, "titleColor": _SOFT, "gridColor": _GRID, "domainColor": _GRID, "tickColor": _GRID},
    "legend": {"labelColor": _INK, "titleColor": _SOFT}, "title": {"color": _INK, "anchor": "start"},
}
