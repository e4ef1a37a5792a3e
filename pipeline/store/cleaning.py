"""What under a RUNS folder no run needs any more."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.contract.errors import RecipeError, RunError
from pipeline.disk import locks
from pipeline.disk.locks import Held, Lock
from pipeline.recipe import fingerprint, recipe
from pipeline.recipe.fingerprint import SHORT
from pipeline.store.run_folder import RunFolder, is_run
from pipeline.store.store import Store

_NAME = re.compile(rf"[A-Za-z][\w-]*-[0-9a-f]{{{SHORT}}}(\.lock)?")


def unneeded(runs: Path) -> list[Path]:
    """Artifacts that no run links to and no run's recipe would use, with the rollouts that were kept beside them,
    unfinished ones that no recipe would go on with, what was set aside, and what stages can make again.

    A run whose recipe cannot be read keeps what it links to and what its ledger says was begun; where it has no ledger
    either, everything unfinished stays. What is being made now is left alone, and so is everything under the folder
    that no stage has made.
    """
    store = Store(runs)
    known = [RunFolder(folder) for folder in runs.iterdir() if is_run(folder)]
    needed = {name for run in known for name in _needed_by(run)}
    unsure = any(run.stages() is None and not run.ledger() for run in known)
    places = (store.artifacts, store.kept) if unsure else (store.artifacts, store.unfinished, store.kept)
    made = [path for place in places if place.is_dir() for path in place.iterdir()
            if _NAME.fullmatch(path.name) and path.name.removesuffix(".lock") not in needed
            and not _held(_lock_of(path, store))]
    again = [path for path in store.cache.iterdir() if not _held(_lock_of(path, store))] if store.cache.is_dir() else []
    return sorted([*made, *again, *(store.aside.iterdir() if store.aside.is_dir() else [])])


def put_aside(runs: Path) -> dict[Path, Path]:
    """Put what is `unneeded` where no run looks for it, each thing in one step; where it is now, by where it was. A run
    that begins meanwhile finds a thing, and it stays, or does not find it at all."""
    store = Store(runs)
    moved: dict[Path, Path] = {}
    while True:
        began = _begun(runs)
        for path in unneeded(runs):
            if path in moved.values():
                continue
            # It may have been taken by now; a run writes its recipe.json before it looks for what is there.
            if _begun(runs) != began:
                break
            try:
                moved[path] = _moved(path, store)
            except Held:
                continue
        else:
            return moved


def _begun(runs: Path) -> dict[Path, int]:
    """When each run has begun its last attempt."""
    return {file: file.stat().st_mtime_ns for file in runs.glob("*/recipe.json")}


def _moved(path: Path, store: Store) -> Path:
    """Where an unneeded thing is, now that it is aside. Raises Held where somebody is making it."""
    if path.parent == store.aside:
        return path
    try:
        with Lock(_lock_of(path, store)):
            return store.set_aside(path)
    except OSError:  # the disk is full, which is when one cleans, or it lies on another one: it goes from where it is
        return path


def _needed_by(run: RunFolder) -> Iterator[str]:
    yield from (artifact.path.name for artifact in run.artifacts().values())
    try:
        # A run that is not finished has no links to what it will need.
        read = recipe.read_again(run.recipe())
    # The recipe was changed or is gone: what the run has made and begun is all that is known of it.
    except (RecipeError, RunError):
        yield from run.begun()
        return
    store = Store(run.path.parent)
    prints = fingerprint.of_recipe(read, store.hashes)
    yield from (store.path(name, prints[name]).name for name in read.steps)
    # Artifacts of other runs that it names by their places.
    paths = [source.path.resolve() for step in read.steps.values() for source in step.sources.values() if source.path]
    yield from (path.relative_to(store.artifacts.resolve()).parts[0] for path in paths
                if path.is_relative_to(store.artifacts.resolve()))


def _lock_of(path: Path, store: Store) -> Path:
    if path.parent == store.cache:
        return store.cache / f"{path.stem}.lock"
    return store.unfinished / f"{path.name.removesuffix('.lock')}.lock"


def _held(lock: Path) -> bool:
    return locks.holder(lock) is not None


def size(path: Path) -> int:
    """Bytes of a file, or of all files under a folder; a link has none."""
    if path.is_symlink():
        return 0
    return path.stat().st_size if path.is_file() else sum(
        file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink()
    )


def remove(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
