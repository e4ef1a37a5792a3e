"""Artifacts held against the hashes that were taken when they were made, and against what they were made from."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.contract.errors import RunError
from pipeline.disk.hashes import FileHashes, file_hashes, files_of
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import MANIFEST, Artifact


def faults_of_run(run: RunFolder, hashes: FileHashes) -> dict[str, list[str]]:
    """What is wrong with each artifact that a run links to or that its ledger says was made, by stage; empty lists
    where all is well.

    Stages that the recipe no longer has are left out. What is wrong with the run's own files is under "run".
    """
    linked = run.artifacts()
    faults = {name: faults_of(artifact, hashes) + made_from_others(artifact, linked)
              for name, artifact in linked.items()}
    stages = run.stages()
    claimed = {name: f"{run.path.parent / 'artifacts' / folder} is gone" for name, folder in run.claimed().items()}
    for name, fault in {**claimed, **run.lost()}.items():
        if name not in faults and (stages is None or name in stages):
            faults[name] = [fault]
    own = run.faults()
    return {**({"run": own} if own else {}), **faults}


def faults_of(artifact: Artifact, hashes: FileHashes) -> list[str]:
    """Files that were changed, are missing or are new since the artifact was made, one line each."""
    if not artifact.path.is_dir():
        return [f"{artifact.path} is gone"]
    try:
        expected = artifact.manifest["files"]
    except RunError as error:
        return [str(error).partition(";")[0]]
    found = file_hashes(artifact.path, MANIFEST, hashes)
    hashes.keep()
    return _differences(artifact.path, expected, found)


def known_faults_of(artifact: Artifact, hashes: FileHashes) -> list[str]:
    """Like `faults_of`, without reading what was not read before: files of that kind are taken to be as they were."""
    try:
        expected: dict[str, str] = artifact.manifest["files"]
    except RunError as error:
        return [str(error).partition(";")[0]]
    found = {}
    for file in files_of(artifact.path, MANIFEST):
        name = file.relative_to(artifact.path).as_posix()
        found[name] = hashes.remembered(file) or expected.get(name, "")
    return _differences(artifact.path, expected, found)


def made_from_others(artifact: Artifact, present: Mapping[str, Artifact]) -> list[str]:
    """One line for each input that has other bytes now than the artifact was made from: of those in `present`, and of
    artifacts that were given by their places."""
    return other_inputs(artifact, {**_given(artifact), **present})


def _given(artifact: Artifact) -> dict[str, Artifact]:
    try:
        inputs = artifact.manifest["inputs"]
    except RunError:  # which `faults_of` tells
        return {}
    return {name: Artifact(Path(source["path"])) for name, source in inputs.items()
            if isinstance(source, dict) and source.get("origin") == "path" and isinstance(source.get("path"), str)}


def other_inputs(artifact: Artifact, present: Mapping[str, Artifact]) -> list[str]:
    """One line for each input of the artifact that is in `present` with other bytes than it was made from."""
    found = []
    try:
        inputs = artifact.manifest["inputs"]
    except RunError:  # which `faults_of` tells
        return []
    for name, source in inputs.items():
        # Of artifacts that were made before this was written down nobody knows.
        if not isinstance(source, dict) or "content" not in source or name not in present:
            continue
        try:
            if present[name].content != source["content"]:
                found.append(f"was made from other bytes of {name} than {present[name].path} holds")
        except RunError:
            continue
    return found


def _differences(folder: Path, expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    faults = []
    for name in sorted({*expected, *found}):
        if name not in found:
            faults.append(f"{folder / name} is gone")
        elif name not in expected:
            faults.append(f"{folder / name} was not made by the stage")
        elif expected[name] != found[name]:
            faults.append(f"{folder / name} was changed")
    return faults
