"""`retort plan`: each stage of a recipe, what it reads, its fingerprint, and whether it is made already."""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext

from pipeline.commands.run import recipe_arguments
from pipeline.recipe import fingerprint, recipe, trust
from pipeline.run.before import contexts
from pipeline.store.store import Artifact, Store
from pipeline.store.verify import known_faults_of
from rewards import plugin_files


def configure(parser: argparse.ArgumentParser) -> None:
    recipe_arguments(parser)
    parser.add_argument("--trust", action="store_true",
                        help="run plug-in files that no run of yours has used, as `run` does; otherwise they are told")


def main(args: argparse.Namespace) -> int:
    with nullcontext() if args.trust else plugin_files.running_only(trust.is_trusted):
        read = recipe.read(args.recipe, args.sets)
    if args.trust:
        trust.remember(file.parent for file in plugin_files.run_so_far())
    contexts.check(read, exactly=False)
    store = Store(args.runs)
    prints = fingerprint.of_recipe(read, store.hashes)
    rows = []
    for name, step in read.steps.items():
        made = store.find(name, prints[name])
        rows.append((name, step.kind, type(step.config).makes, prints[name].short, _state(made, store),
                     ", ".join(step.sources) or "-"))
    print(f"{read.name}  seed {read.seed}  {read.parallel} CPU slots  {read.file}")
    print(table(("stage", "kind", "makes", "fingerprint", "state", "reads"), rows))
    return 0


def _state(made: Artifact | None, store: Store) -> str:
    if made is None:
        return "would run"
    # Files that were never read are not read for this: `run` does so before it uses them.
    return "changed since it was made" if known_faults_of(made, store.hashes) else "done"


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell, two spaces apart."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in [header, *rows])
    return "\n".join(lines)
