"""Artifacts on disk: RUNS/artifacts/NAME-FP10/ exists only when whole, RUNS/artifacts/.partial/NAME-FP10/ until
then."""

import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.disk.hashes import file_hashes
from pipeline.disk.locks import Lock
from pipeline.recipe.fingerprint import SHORT, Fingerprint

MANIFEST = "stage.json"


@dataclass(frozen=True)
class Artifact:
    """A finished output. `manifest` is its stage.json: what made it, from what, its files' hashes, its metrics."""

    path: Path

    @cached_property
    def manifest(self) -> JsonObject:
        found: JsonObject = json.loads((self.path / MANIFEST).read_text())
        return found


@dataclass(frozen=True)
class Store:
    """The artifacts of every run under one RUNS folder; runs with equal fingerprints share them."""

    runs: Path

    @property
    def artifacts(self) -> Path:
        return self.runs / "artifacts"

    @property
    def unfinished(self) -> Path:
        """Where artifacts are made, with their checkpoints and locks."""
        return self.artifacts / ".partial"

    def path(self, name: str, fingerprint: Fingerprint) -> Path:
        """Where the artifact is, or will be."""
        return self.artifacts / f"{name}-{fingerprint.short}"

    def partial(self, name: str, fingerprint: Fingerprint) -> Path:
        """Where the artifact is being made: `out/` becomes it, checkpoints may lie beside. Kept for the next
        attempt."""
        return self.unfinished / f"{name}-{fingerprint.short}"

    def find(self, name: str, fingerprint: Fingerprint) -> Artifact | None:
        """The whole artifact of this fingerprint, if it was made before."""
        artifact = Artifact(self.path(name, fingerprint))
        if not (artifact.path / MANIFEST).is_file():
            return None
        # The name has ten digits of the fingerprint, and two may share them.
        return artifact if artifact.manifest.get("fingerprint") == fingerprint.digest else None

    def lock(self, name: str, fingerprint: Fingerprint) -> Lock:
        """The right to make this artifact. Raises Held while another run makes it."""
        return Lock(self.unfinished / f"{name}-{fingerprint.short}.lock")


def finish(out: Path, artifact: Path, manifest: JsonMapping) -> None:
    """Turn a finished `out` folder into the artifact: everything on disk, stage.json last, then one rename."""
    durable.sync_files(out)
    durable.write_json(out / MANIFEST, {**manifest, "files": file_hashes(out, MANIFEST)})
    artifact.parent.mkdir(parents=True, exist_ok=True)
    if artifact.exists():  # another fingerprint with the same first digits, or a folder without a stage.json
        other = artifact / MANIFEST
        if other.is_file() and json.loads(other.read_text()).get("fingerprint", "")[:SHORT] == artifact.name[-SHORT:]:
            raise FileExistsError(f"{artifact} is already there; remove it to make it again")
        shutil.rmtree(artifact)
    # From here on it exists, whole; until here it did not.
    out.rename(artifact)
    durable.sync_folder(artifact.parent)
    shutil.rmtree(out.parent, ignore_errors=True)
