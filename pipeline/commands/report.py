"""`retort report`: what a run made, as a table that a person reads in ten seconds, as a page or as JSON."""

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.plan import table
from pipeline.commands.run import runs_argument
from pipeline.contract.errors import CommandError
from pipeline.disk.durable import JsonObject
from pipeline.run.display.figures import duration
from pipeline.store.run_folder import RunFolder, find_run
from rewards.lazy import lazy

with lazy:
    from eval.scaling import efforts_table
    from eval.table import table as table_of_models
    from pipeline.results.advice import next_commands
    from pipeline.results.page.document import page
    from pipeline.results.report import curves_of, efforts_of, models_of, report_of


if TYPE_CHECKING:
    from pipeline.store.run_folder import RunFolder


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run: its folder, such as runs/quickstart, or its name")
    parser.add_argument(
        "--html", nargs="?", type=Path, const=Path(), metavar="FILE",
        help="one page with plots and rollouts, complete in itself (default: report.html in the run's folder)"
    )
    parser.add_argument("--per-hour", type=float, metavar="PRICE",
                        help="what the machine costs an hour, for the page to tell what each stage cost")
    parser.add_argument(
        "--json", action="store_true", help="everything as one JSON object, with curves of accuracy against tokens"
    )
    runs_argument(parser)


def main(args: argparse.Namespace) -> int:
    run = RunFolder(find_run(args.run, args.runs))
    if args.per_hour is not None and (args.html is None or not 0 <= args.per_hour < math.inf):
        raise CommandError("retort report: --per-hour is a price, and is for --html")
    if args.json and args.html is not None:
        raise CommandError("retort report: --json and --html are asked for one at a time")
    if args.html is not None:
        file = run.path / "report.html" if args.html == Path() else args.html
        size = file.write_text(page(run, args.per_hour), encoding="utf-8")
        print(f"wrote {file} ({size / 1e6:.1f} MB); open it in a browser")
        return 0
    report = report_of(run)
    if args.json:
        for name, curves in curves_of(run, report["models"]).items():
            report["models"][name]["curves"] = curves
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print(as_text(run, report, shutil.get_terminal_size((120, 24)).columns))
    return 0


def as_text(run: "RunFolder", report: JsonObject, width: int) -> str:
    """The stages, then one table of models for each evaluate stage."""
    parts = [f"{run.path}: {len(report['stages'])} stages, {duration(report['seconds'])} of work in all its attempts",
             _stages(report)]
    for name, artifact in run.readable().items():
        models = models_of(artifact)
        if models:
            parts.append(f"{name}: rates in percent, in brackets the 95% interval\n\n{table_of_models(models, width)}")
        if asked := efforts_of(models):
            parts.append(f"{name}: thinking and accuracy by effort and thinking budget\n\n{efforts_table(asked)}")
    parts.append(_made_on(report["made_on"]))
    if not report["models"]:
        parts.append("no model has been measured yet")
    if report["damaged"]:
        parts.append("\n".join(report["damaged"]))
    if report["waiting"]:
        parts.append(f"not made yet: {', '.join(report['waiting'])}")
    return "\n\n".join(part for part in [*parts, _next(run, report)] if part)


def _made_on(found: dict[str, list[str]]) -> str:
    """One line for each machine and set of libraries: the same seed gives other last bits on another one."""
    if len(found) < 2:
        return "".join(f"made on {place}" for place in found if place)
    return "\n".join(f"{', '.join(stages)}: made on {place or 'an unknown machine'}" for place, stages in found.items())


def _next(run: "RunFolder", report: JsonObject) -> str:
    found = next_commands(run, report)
    width = max((len(command) for command, _ in found), default=0)
    return "\n".join(["next:", *(f"  {command:<{width}}  {what}" for command, what in found)]) if found else ""


def _stages(report: JsonObject) -> str:
    rows = [
        (stage["name"], stage["kind"], duration(stage["seconds"]),
         "" if stage["tokens"] is None else f"{stage['tokens']:,}",
         _load(stage["metrics"]), "made by an earlier run" if stage["reused"] else "")
        for stage in report["stages"]
    ]
    if not any(row[4] for row in rows):
        return table(("stage", "kind", "time", "tokens", ""), [(*row[:4], row[5]) for row in rows]) if rows else ""
    return table(("stage", "kind", "time", "tokens", "expert load", ""), rows) + "\n\n" + LOAD


LOAD = "expert load: of the busiest expert over the mean, in the worst layer, at the start of training and at its end"


def _load(metrics: JsonObject) -> str:
    """How the load of experts went, for a stage that trained a Mixture of Experts."""
    end = metrics.get("expert_load_max_over_mean")
    start = metrics.get("expert_load_max_over_mean_at_start", end)
    numbers = isinstance(start, int | float) and isinstance(end, int | float)
    return f"{start:.2f} to {end:.2f}" if numbers else ""
