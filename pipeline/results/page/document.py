"""The page of a run: what is shown, in which order; how it looks is in `page.html.j2`, `page.css` and `page.js`."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline.disk.durable import JsonObject
from pipeline.results import advice
from pipeline.results.page import charts, drawing, lineage, scores, tables
from pipeline.results.page.charts import Chart
from pipeline.results.page.tables import Curves
from pipeline.results.report import Report, curves_of, efforts_of, report_of, shared
from pipeline.results.viewer import assets
from pipeline.results.viewer.embedded import embedded
from pipeline.run.display.figures import duration
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import Artifact
from rewards.terminal import escaped

MOST_BYTES = 1_500_000
"""Of rollouts, as they stand in the page; the rest is a page of at most three megabytes."""

_HERE = Path(__file__).parent
_HEX = 12  # characters of a hash that are shown


@dataclass(frozen=True)
class Section:
    """Charts under a heading; `note` is told before them."""

    title: str
    charts: list[Chart]
    note: str = ""


def page(run: RunFolder, per_hour: float | None = None) -> str:
    """The page of a run, finished or not, as HTML. `per_hour` is what the machine costs, in any currency.

    Raises RunError where a report of the run cannot be read.
    """
    report = report_of(run)
    artifacts = run.readable()
    columns, stages = _stages(artifacts)
    models = report["models"]
    sections = [
        Section("Scores", scores.of_models(models), "Each point is the share of right answers, the line its 95% "
                                                    "interval, clustered by problem."),
        Section("What more tries buy", scores.of_curves(curves_of(run, models)), "Over draws of k of a problem's "
                "rollouts: how often any of them is right, and how often the answer that most of them give is."),
        Section("What effort buys", scores.of_efforts(efforts_of(models)), "Each point is a way of asking: with low, "
                "medium or high effort, and with thinking that a budget of tokens closes. Bands are 95% intervals."),
    ]
    drawn = [lineage.of_run(artifacts, models), *(chart for one in (*sections, *stages) for chart in one.charts)]
    numbers = {id(chart): place for place, chart in enumerate(drawn)}
    rollouts = embedded(run, MOST_BYTES)
    scripts = [drawing.libraries(), (_HERE / "page.js").read_text(encoding="utf-8")]
    if rollouts:
        scripts.append(assets.script() + (_HERE / "rollouts.js").read_text(encoding="utf-8"))
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_harmless)
    environment.filters["duration"] = duration
    return environment.get_template("page.html.j2").render(
        name=run.path.resolve().name, report=report, lineage=drawn[0], shared=shared(models),
        sections=[one for one in sections if one.charts], stages=stages, number=lambda chart: numbers[id(chart)],
        facts=_facts(run, report), per_hour=per_hour, costs=_costs(report, per_hour), protocols=_protocols(models),
        hashes=_hashes(artifacts), recipe=_recipe(run), next=advice.next_commands(run, report),
        data=inlined({"tables": columns, "charts": [chart and asdict(chart) for chart in drawn]}),
        rollouts=rollouts, style=(_HERE / "page.css").read_text(encoding="utf-8") + assets.style(),
        scripts=scripts, policy=_policy(scripts),
    )


def _harmless(value: object) -> object:
    """What a template shows, without characters that act on a terminal or turn the direction of others."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def inlined(data: object) -> str:
    """JSON that ends no script element, whatever texts are in it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(scripts: Iterable[str]) -> str:
    """A content security policy under which these scripts run and no others, and nothing is fetched."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
                      for text in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; " \
           "base-uri 'none'; form-action 'none'"


def _stages(artifacts: Mapping[str, Artifact]) -> tuple[dict[str, Curves], list[Section]]:
    """Columns by stage, and a section with charts for each stage that logged numbers by step."""
    columns, sections = {}, []
    for name, artifact in artifacts.items():
        rows = tables.rows_of(artifact.path)
        found = tables.curves(rows)
        if found:
            columns[name] = found
            thinned = "; each point is the mean of a span of them, the band the least and the most of it" \
                if found["least"] else ""
            sections.append(Section(name, charts.of_stage(name, found, tables.loads(rows)),
                                    f"{artifact.manifest['kind']}, {len(rows):,} rows of metrics{thinned}"))
    return columns, sections


def _facts(run: RunFolder, report: Report) -> list[tuple[str, str]]:
    ledger = run.ledger()
    times = [str(row["time"]) for row in ledger if "time" in row]
    waiting = report["waiting"]
    return [
        ("state", f"{len(waiting)} stages are not made yet: {', '.join(waiting)}" if waiting else "finished"),
        ("work", f"{duration(report['seconds'])} in {len({row['attempt'] for row in ledger})} attempts"),
        *([("began", times[0].replace("T", " ")), ("last written", times[-1].replace("T", " "))] if times else []),
        *((f"made on{'' if len(report['made_on']) == 1 else f' ({len(stages)} stages)'}", place or "an unknown machine")
          for place, stages in report["made_on"].items()),
    ]


def _costs(report: Report, per_hour: float | None) -> list[JsonObject]:
    """Seconds, tokens and money of each stage; of one that an earlier run has made, what it cost then."""
    return [{**stage, "money": None if per_hour is None else stage["seconds"] / 3600 * per_hour}
            for stage in report["stages"]]


def _protocols(models: JsonObject) -> list[JsonObject]:
    """How each problem set was asked, once for all models that were asked alike."""
    found: dict[str, JsonObject] = {}
    for model, measured in models.items():
        for problems, protocol in (measured.get("protocol") or {}).items():
            shown = {key: value for key, value in protocol.items() if isinstance(value, str | int | float | bool)}
            key = json.dumps([problems, shown], sort_keys=True)
            found.setdefault(key, {"problems": problems, "models": [], "shown": shown})["models"].append(model)
    return list(found.values())


def _hashes(artifacts: Mapping[str, Artifact]) -> list[tuple[str, str, str]]:
    """(stage, fingerprint of what it was made of, hash of what it made), cut short."""
    return [(name, str(one.manifest["fingerprint"])[:_HEX], one.content[:_HEX]) for name, one in artifacts.items()]


def _recipe(run: RunFolder) -> str:
    """The resolved recipe; empty where the run has lost it."""
    return "" if run.stages() is None else json.dumps(run.recipe(), indent=2, ensure_ascii=False)
