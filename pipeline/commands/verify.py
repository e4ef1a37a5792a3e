"""`retort verify`: whether everything that a run says it made is what it was when it was made."""

import argparse

from pipeline.commands.plan import table
from pipeline.commands.run import runs_argument
from pipeline.disk.hashes import FileHashes
from pipeline.store.run_folder import RunFolder, find_run
from pipeline.store.verify import faults_of_run


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run: its folder, such as runs/quickstart, or its name")
    runs_argument(parser)


def main(args: argparse.Namespace) -> int:
    rows: list[tuple[str, ...]] = []
    run = RunFolder(find_run(args.run, args.runs))
    faults = faults_of_run(run, FileHashes())
    for stage, found in faults.items():
        rows += [(stage, fault) for fault in found] or [(stage, "as it was made")]
    print(table(("stage", "files"), rows))
    faulty = [stage for stage, found in faults.items() if found and stage != "run"]
    if faulty:
        print(f"not as made: {', '.join(faulty)}. To make it again: {run.command() or 'retort run RECIPE'} --mend")
    return 1 if any(faults.values()) else 0
