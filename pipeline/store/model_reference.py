"""What a person means by a model on the command line."""

from difflib import get_close_matches
from pathlib import Path

from pipeline.contract.errors import CommandError
from pipeline.recipe.inputs import PACKAGE, Source, download, find, in_package, resolve_hub
from pipeline.recipe.path_inputs import require_usable
from pipeline.store.run_folder import RunFolder, find_run
from pipeline.store.store import MENDS, Store
from pipeline.store.verify import faults_of

RUNS = Path("runs")
"""Where a run is looked for by its name alone."""


def model_of(reference: str) -> tuple[Path | str, str]:
    """(where it loads from, a short name) of RUN:STAGE, a folder, an artifact, a GGUF file (also one inside a Python
    package, "package:NAME/FILE") or a hub id 'org/name', also at a revision, 'org/name@v1'.

    Raises CommandError in one line where nothing is found, and InputError where what is found is no model, or neither
    the hub nor its cache has it.
    """
    if reference.startswith(PACKAGE):
        path = in_package(reference)
        return path, path.stem
    path = Path(reference).expanduser()
    if path.exists():
        _require_model(path, reference)
        named = path.resolve() if path.name in ("", "..") else path  # "." has no name, and a link has its own
        return path, named.stem if path.is_file() else named.name
    run, _, stage = reference.rpartition(":")
    if run:
        return _of_run(run, stage)
    # After folders: one that is called like a hub id is what was meant.
    if reference.count("/") == 1 and not reference.startswith((".", "/", "~")):
        commit = resolve_hub(Source(reference, "model", "hub"))  # before libraries ask the hub again and again
        name, at, _ = reference.partition("@")
        # Libraries take a name alone; of another revision they are given the files.
        return download(name, "model", commit) if at else name, reference.rpartition("/")[2]
    raise CommandError(
        f"there is no model at {reference!r}; give a folder, a .gguf file, RUN:STAGE (runs/quickstart:student) or a "
        "hub id"
    )


def _require_model(path: Path, reference: str) -> None:
    models = {name for name, one in RunFolder(path).artifacts().items() if (one.path / "model").is_dir()}
    if models:
        raise CommandError(f"{reference!r} is a run; name one of its models: "
                           f"{', '.join(f'{path}:{name}' for name in sorted(models))}")
    # As the recipe's `model:` is looked at, so that nothing is loaded before.
    require_usable(find(str(path), "model", earlier={}, later={}, folder=Path()))


def _of_run(name: str, stage: str) -> tuple[Path, str]:
    run = find_run(name, RUNS)
    artifacts, lost = RunFolder(run).artifacts(), RunFolder(run).lost()
    if stage in lost:
        raise CommandError(lost[stage])
    if not artifacts:
        raise CommandError(f"{run} has no finished stages yet; retort status {run} tells how far it is")
    models = {name: artifact for name, artifact in artifacts.items() if (artifact.path / "model").is_dir()}
    if stage not in models:
        near = get_close_matches(stage, models, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(models) or 'none'}"
        raise CommandError(f"{run} has no finished model {stage!r}; {hint}")
    faults = faults_of(models[stage], Store(run.parent).hashes)
    if faults:
        raise CommandError(f"{run}:{stage}: {faults[0]}; {MENDS}")
    return models[stage].path, stage
