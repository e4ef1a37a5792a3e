"""`retort status`: what of a run is done, and what would be made again and why."""

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.plan import table
from pipeline.commands.run import runs_argument
from pipeline.contract.errors import RecipeError, RunError
from pipeline.disk import locks
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.recipe import fingerprint, recipe
from pipeline.run.display.figures import duration
from pipeline.store.cleaning import size
from pipeline.store.run_folder import RunFolder, find_run, wall_seconds
from pipeline.store.store import MENDS, Store
from pipeline.store.verify import known_faults_of, made_from_others

if TYPE_CHECKING:
    from pipeline.recipe.fingerprint import Fingerprint
    from pipeline.recipe.recipe import Recipe
    from pipeline.store.run_folder import RunFolder
    from pipeline.store.store import Artifact


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run: its folder, such as runs/quickstart, or its name")
    runs_argument(parser)


def main(args: argparse.Namespace) -> int:
    folder = find_run(args.run, args.runs)
    run = RunFolder(folder)
    ledger = run.ledger()
    who = locks.holder(run.lock_file)
    print(f"{folder}  {duration(wall_seconds(ledger))} of work in all its attempts"
          + (f"  running now: {locks.describe(who)}" if who else ""))
    try:
        read = recipe.read_again(run.recipe())
    except (RecipeError, RunError) as error:
        print("its recipe can no longer be read, so this is only what was made:")
        print(table(("stage", "state"), [(name, "done") for name in run.readable()]))
        raise error from None
    print(table(("stage", "state", "seconds", "why"), _rows(read, run, ledger, folder.parent)))
    if made := run.readable():
        print(_seconds(made, run.made_here()))
    return 0


def _seconds(made: Mapping[str, "Artifact"], made_here: Collection[str]) -> str:
    """Why the stages' seconds do not add up to those of the run."""
    total = sum(artifact.manifest["seconds"] for artifact in made.values())
    others = [name for name in made if name not in made_here]
    told = f"; made by other runs: {', '.join(others)}" if others else ""
    return f"the stages took {duration(total)} in all, some of them side by side{told}"


def _rows(read: "Recipe", run: "RunFolder", ledger: list[JsonObject], runs: Path) -> list[tuple[str, ...]]:
    store, linked, lost = Store(runs), run.readable(), run.lost()
    prints = fingerprint.of_recipe(read, store.hashes)
    last = {str(row.get("stage")): row for row in ledger if row.get("event") != "note"}
    found: dict[str, Artifact] = {}
    rows: list[tuple[str, ...]] = []
    for name in read.steps:
        old = linked.get(name)
        made = store.find(name, prints[name]) or _copied(run, old, prints[name])
        if made and (faults := known_faults_of(made, store.hashes)):
            rows.append((name, "changed", "", f"{faults[0]}; {MENDS}"))
        elif made:
            found[name] = made
            others = made_from_others(made, found)
            why = f"{others[0]}; {MENDS}" if others else ""
            rows.append((name, "done", duration(made.manifest["seconds"]), why))
        elif old:
            changes = fingerprint.differences(old.manifest.get("parts", {}), prints[name].parts)
            rows.append((name, "to be made again", "", "; ".join(changes) or "its artifact is gone"))
        else:
            state, seconds, why = _unmade(last.get(name, {}), lost.get(name, ""))
            kept = _kept(store.partial(name, prints[name]) / "checkpoints")
            rows.append((name, state, seconds, "; ".join(filter(None, [why, kept]))))
    return rows


def _copied(run: "RunFolder", old: "Artifact | None", expected: "Fingerprint") -> "Artifact | None":
    """An artifact that was copied to where its link stood (cp -L), from where `retort run` takes it."""
    here = old is not None and old.path.parent == run.path.resolve()
    return old if old and here and old.manifest["fingerprint"] == expected.digest else None


def _kept(folder: Path) -> str:
    steps = [path for path in folder.glob("step-*")]
    if steps:
        return f"would go on from {steps[0].name} ({size(folder) / 1e6:.1f} MB)"
    pieces = len(list((folder / "rollouts").glob("*.jsonl")))
    return f"would go on after {pieces} pieces of rollouts ({size(folder) / 1e6:.1f} MB)" if pieces else ""


def _unmade(row: JsonMapping, lost: str) -> tuple[str, str, str]:
    match row.get("event"):
        case "failed":
            return "failed", "", str(row.get("message", ""))
        case "started":
            return "begun", "", f"at {row.get('time')}"
        case "stopped":
            return "stopped", "", f"at {row.get('time')}"
    return ("to be made again", "", lost) if lost else ("to be made", "", "")
