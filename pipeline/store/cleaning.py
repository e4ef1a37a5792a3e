"""What under a RUNS folder no run needs any more."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.contract.errors import RecipeError
from pipeline.disk import locks
from pipeline.recipe import fingerprint, recipe
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import Store


def unneeded(runs: Path) -> list[Path]:
    """Artifacts that no run links to and no run's recipe would use, and unfinished ones that no recipe would go on
    with.

    A run whose recipe can no longer be read keeps what it links to. What is being made now is left alone.
    """
    store = Store(runs)
    needed = {name for file in runs.glob("*/recipe.json") for name in _needed_by(RunFolder(file.parent))}
    candidates = [*store.artifacts.glob("*"), *store.unfinished.glob("*")] if store.artifacts.is_dir() else []
    return sorted(
        path for path in candidates
        if path != store.unfinished and path.name.removesuffix(".lock") not in needed and not _being_made(path, store)
    )


def _needed_by(run: RunFolder) -> Iterator[str]:
    yield from (artifact.path.name for artifact in run.artifacts().values())
    written = run.recipe()
    try:
        # A run that is not finished has no links to what it will need.
        read = recipe.read(written["file"], written["overrides"])
    # The recipe was changed or is gone: what the run has made and links to is all that is known of it.
    except RecipeError:
        return
    prints = fingerprint.of_recipe(read)
    yield from (Store(run.path.parent).path(name, prints[name]).name for name in read.steps)


def _being_made(path: Path, store: Store) -> bool:
    return locks.holder(store.unfinished / f"{path.name.removesuffix('.lock')}.lock") is not None


def size(path: Path) -> int:
    """Bytes of a file, or of all files under a folder."""
    return path.stat().st_size if path.is_file() else sum(
        file.stat().st_size for file in path.rglob("*") if file.is_file()
    )
