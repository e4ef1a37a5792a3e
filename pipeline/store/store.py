"""Artifacts on disk: RUNS/artifacts/NAME-FP10/ exists only when whole, RUNS/artifacts/.partial/NAME-FP10/ until
then."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from pipeline.contract.errors import RunError
from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.disk.hashes import FileHashes, file_hashes
from pipeline.disk.locks import Lock
from pipeline.recipe.fingerprint import SHORT, Fingerprint

MANIFEST = "stage.json"
MENDS = "`retort run` with --mend makes it again"
_HOLDS = {"name": str, "kind": str, "makes": str, "fingerprint": str, "seconds": int | float, "config": dict,
          "inputs": dict, "metrics": dict, "files": dict}


OWN_HASH = "sha256"
"""The key under which a stage.json has the hash of everything else in it."""


def _hash(manifest: JsonMapping) -> str:
    # As it is read back: keys that are numbers become text, and are sorted as such.
    others = json.loads(json.dumps({key: value for key, value in manifest.items() if key != OWN_HASH}))
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A finished output. `manifest` is its stage.json: what made it, from what, its files' hashes, its metrics."""

    path: Path

    @cached_property
    def manifest(self) -> JsonObject:
        """Raises RunError where it is gone, torn or no stage.json."""
        file = self.path / MANIFEST
        try:
            found = durable.read_json(file)
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: {'is gone' if isinstance(error, OSError) else 'is torn'}; {MENDS}") from error
        if not isinstance(found, dict):
            raise RunError(f"{file}: holds no object; {MENDS}")
        if OWN_HASH in found and found[OWN_HASH] != _hash(found):
            raise RunError(f"{file}: was changed; {MENDS}")
        wrong = [key for key, kind in _HOLDS.items() if not isinstance(found.get(key), kind)]
        if wrong:
            raise RunError(f"{file}: {wrong[0]!r} is not what a stage writes; {MENDS}")
        return found

    @property
    def content(self) -> str:
        """A hash of the bytes that the stage made, of all its files."""
        return hashlib.sha256(json.dumps(self.manifest["files"], sort_keys=True).encode()).hexdigest()


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

    @property
    def aside(self) -> Path:
        """Where artifacts are put that are not as they were made, until `retort clean` removes them."""
        return self.artifacts / ".aside"

    @property
    def cache(self) -> Path:
        """What stages can make again, such as rows of token ids, until `retort clean` removes it."""
        return self.artifacts / ".cache"

    @property
    def kept(self) -> Path:
        """Rollouts that trainings keep to be looked at, a folder for each artifact and called as it is. They are part
        of no artifact: what a model became does not hang on whether anybody looks."""
        return self.artifacts / ".rollouts"

    @property
    def memory(self) -> Path:
        """The file that remembers hashes of artifacts' files, for FileHashes."""
        return self.artifacts / ".hashes.json"

    @cached_property
    def hashes(self) -> FileHashes:
        """Hashes of artifacts' files."""
        return FileHashes(self.memory)

    def path(self, name: str, fingerprint: Fingerprint) -> Path:
        """Where the artifact is, or will be."""
        return self.artifacts / f"{name}-{fingerprint.short}"

    def partial(self, name: str, fingerprint: Fingerprint) -> Path:
        """Where the artifact is being made: `out/` becomes it, checkpoints may lie beside. Kept for the next
        attempt."""
        return self.unfinished / f"{name}-{fingerprint.short}"

    def find(self, name: str, fingerprint: Fingerprint) -> Artifact | None:
        """The artifact of this fingerprint, if it was made before. Whether it is still as it was made is for
        `pipeline.store.verify` to say: one whose stage.json is gone or torn is found, too."""
        artifact = Artifact(self.path(name, fingerprint))
        if not artifact.path.is_dir():
            return None
        try:
            # The name has ten digits of the fingerprint, and two may share them.
            return artifact if artifact.manifest["fingerprint"] == fingerprint.digest else None
        except RunError:
            return artifact

    def lock(self, name: str, fingerprint: Fingerprint) -> Lock:
        """The right to make this artifact. Raises Held while another run makes it."""
        return Lock(self.unfinished / f"{name}-{fingerprint.short}.lock")

    def server_lock(self, url: str) -> Lock:
        """The right to give weights to the server at a URL. Raises Held while another stage of any run has it."""
        digest = hashlib.sha256(url.encode()).hexdigest()[:SHORT]
        return Lock(self.unfinished / f"server-{digest}.lock")

    def set_aside(self, folder: Path) -> Path:
        """Put an artifact out of the way, where nothing uses it; returns where it is now."""
        self.aside.mkdir(parents=True, exist_ok=True)
        # The first that is free: somebody may have removed some of them.
        target = next(place for number in count(1) if not (place := self.aside / f"{folder.name}.{number}").exists())
        durable.move_folder(folder, target, through=self.aside)
        durable.sync_folder(self.artifacts)
        return target


def finish(out: Path, artifact: Path, manifest: JsonMapping) -> None:
    """Turn a finished `out` folder into the artifact: everything on disk, stage.json last, then one rename."""
    store = Store(artifact.parent.parent)
    durable.sync_files(out)
    artifact.parent.mkdir(parents=True, exist_ok=True)
    whole = {**manifest, "files": file_hashes(out, MANIFEST, store.hashes)}
    durable.write_json(out / MANIFEST, {**whole, OWN_HASH: _hash(whole)})
    store.hashes.keep()
    if artifact.exists():  # another fingerprint with the same first digits, since this one's would have been used
        store.set_aside(artifact)
    # From here on it exists, whole; until here it did not.
    out.rename(artifact)
    durable.sync_folder(artifact.parent)
    shutil.rmtree(out.parent, ignore_errors=True)
