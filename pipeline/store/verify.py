"""Artifacts held against the hashes that were taken when they were made."""

from pathlib import Path

from pipeline.disk.durable import read_json
from pipeline.disk.hashes import file_hashes
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import MANIFEST


def faults_of_run(run: RunFolder) -> dict[str, list[str]]:
    """What is wrong with each artifact that the ledger says was finished or reused, by stage; empty lists where all is
    well.

    Stages that the recipe no longer has are left out.
    """
    claimed: dict[str, str] = {}
    for row in run.ledger():
        if row["event"] in ("finished", "reused") and "artifact" in row:
            # The last word on a stage counts: it may have been made again by a later attempt.
            claimed[row["stage"]] = row["artifact"]
    stages = [name for name in run.recipe()["stages"] if name in claimed]
    return {name: faults_of_artifact(run.path.parent / "artifacts" / claimed[name]) for name in stages}


def faults_of_artifact(folder: Path) -> list[str]:
    """Files that were changed, are missing or are new, one line each."""
    if not folder.is_dir():
        return [f"{folder} is gone"]
    try:
        expected = read_json(folder / MANIFEST)["files"]
    except (OSError, ValueError, KeyError) as error:
        return [f"{folder / MANIFEST} cannot be read ({type(error).__name__})"]
    found = file_hashes(folder, MANIFEST)
    faults = []
    for name in sorted({*expected, *found}):
        if name not in found:
            faults.append(f"{folder / name} is gone")
        elif name not in expected:
            faults.append(f"{folder / name} was not made by the stage")
        elif expected[name] != found[name]:
            faults.append(f"{folder / name} was changed")
    return faults
