"""Where a model comes from: the stages that led to it, what it scored in its run, and its base's licence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.contract.errors import RunError
from pipeline.disk.durable import JsonMapping
from pipeline.results.report import report_of
from pipeline.store.run_folder import RunFolder, is_run
from pipeline.store.store import MANIFEST, Artifact
from rewards.lazy import lazy

with lazy:
    from huggingface_hub import metadata_load


@dataclass(frozen=True)
class Made:
    """A stage that led to the model."""

    name: str
    kind: str
    sources: Sequence[str]
    seconds: float
    fingerprint: str
    config: JsonMapping
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Origins:
    """`stages` come after those that they are made of, and the model's own is the last. `scores` are what the run's
    `evaluate` stages say of the model; None where none measured it. `hub_base` is a hub id. `from_scratch` is whether
    the model's own weights, and not only its teacher's, began as random numbers."""

    stages: Sequence[Made]
    scores: JsonMapping | None
    licence: str | None
    hub_base: str | None
    from_scratch: bool = False


def origins_of(place: Path | str) -> Origins:
    """Of an artifact, a folder or a hub id; of what is no artifact only the licence is known."""
    if not isinstance(place, Path) or not (place / MANIFEST).is_file():
        known = place if isinstance(place, Path) else None
        return Origins((), None, _licence(known), None if known else str(place))
    place = place.resolve()
    stages: dict[Path, Made] = {}
    _walk(Artifact(place), stages)
    first, base = _first(Artifact(place))
    hub = base["repository"] if base and base["origin"] == "hub" else None
    licence = _licence(Path(base["path"])) if base and base.get("path") else None
    drawn = base is None and first.manifest["kind"] == "pretrain"
    return Origins(tuple(stages.values()), _scores(place), licence, hub, drawn)


def _first(artifact: Artifact) -> tuple[Artifact, JsonMapping | None]:
    """The stage that the model's weights began with, and the model that no stage has made that it took. None where it
    took none, was made before its stage said which of its inputs that is, or what came before it is not there."""
    manifest = artifact.manifest
    source: JsonMapping | None = manifest["inputs"].get(manifest.get("made_of"))
    if source is None or source["origin"] != "stage":
        return artifact, source
    before = _before(artifact, source)
    return _first(before) if (before.path / MANIFEST).is_file() else (artifact, None)


def _before(artifact: Artifact, source: JsonMapping) -> Artifact:
    # The folder of the runs may have been moved since.
    return Artifact(artifact.path.parent / Path(source["path"]).name)


def _walk(artifact: Artifact, stages: dict[Path, Made]) -> None:
    """Put this artifact, and all that led to it, into `stages`."""
    manifest = artifact.manifest
    for source in manifest["inputs"].values():
        before = _before(artifact, source) if source["origin"] == "stage" else None
        if before and before.path not in stages and (before.path / MANIFEST).is_file():
            _walk(before, stages)
    stages[artifact.path] = Made(
        manifest["name"], manifest["kind"], [_short(name) for name in manifest["inputs"]], manifest["seconds"],
        manifest["fingerprint"][:10], manifest["config"], manifest.get("versions", {}),
    )


def _short(reference: str) -> str:
    """A name without the folders of the machine it was made on."""
    return reference.rstrip("/").rpartition("/")[2] if reference.startswith(("/", ".", "~")) else reference


def _scores(artifact: Path) -> JsonMapping | None:
    """What a run beside the artifact says of it; None of an artifact that was copied out of its runs."""
    if artifact.parent.name != "artifacts":
        return None
    for folder in sorted(artifact.parent.parent.iterdir()):
        try:
            measured = _measured(folder, artifact)
        except (RunError, PermissionError):
            continue  # a report that cannot be read, or is not ours to read; another run may have measured it, too
        if measured is not None:
            return measured
    return None


def _measured(folder: Path, artifact: Path) -> JsonMapping | None:
    if not folder.is_dir() or not is_run(folder):
        return None
    run = RunFolder(folder)
    names = [name for name, one in run.readable().items() if one.path.resolve() == artifact]
    models: JsonMapping = report_of(run)["models"] if names else {}
    return next((models[name] for name in names if name in models), None)


def _licence(folder: Path | None) -> str | None:
    """What the card of a base says, if there is one."""
    card = (folder if folder.is_dir() else folder.parent) / "README.md" if folder else None
    if card is None or not card.is_file():
        return None
    try:
        said = metadata_load(card)
    except ValueError:
        return None  # a README that is no card
    return str(said["license"]) if isinstance(said, dict) and said.get("license") else None
