"""RUNS/RUN/: the resolved recipe, the ledger, links to the artifacts, the logs."""

import os
import re
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeGuard

from pipeline.contract.errors import CommandError, RunError
from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.disk.locks import Lock
from pipeline.recipe.fingerprint import SHORT
from pipeline.store.store import MANIFEST, Artifact, Store
from rewards.registry import did_you_mean

_LONGEST = 1e10  # seconds of an attempt
_IN_EVERY_ROW: Mapping[str, type] = {"attempt": str, "stage": str, "event": str}
_IN_SOME_ROWS: Mapping[str, type] = {
    "time": str, "artifact": str, "fingerprint": str, "command": str, "message": str, "text": str, "signal": str,
}


class RunFolder:
    """One run on disk. The ledger is append-only: a row for each stage started, finished, reused, failed or stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.lock_file = path / "lock"
        self._ledger = path / "ledger.jsonl"
        self._attempt = ""
        self._began = 0.0

    def lock(self, token: str) -> Lock:
        """The right to work on this run. Raises Held."""
        self.path.mkdir(parents=True, exist_ok=True)
        # The file stays, since `status` reads who held it last.
        return Lock(self.lock_file, token=token, keep=True)

    def begin(self, attempt: str, recipe: JsonMapping, command: str) -> None:
        """Start an attempt at the run: writes recipe.json, with where the run is, and the ledger's first row of the
        attempt."""
        self.logs.mkdir(parents=True, exist_ok=True)
        durable.write_json(self.path / "recipe.json", {**recipe, "run": str(self.path.resolve())})
        self._attempt, self._began = attempt, time.monotonic()
        self.record("run", event="began", command=command)

    def record(self, stage: str, *, event: str, **more: object) -> None:
        """One row. `at` is seconds since the attempt began, from a clock that does not jump; `time` is for people."""
        durable.append_row(self._ledger, {
            "attempt": self._attempt, "at": round(time.monotonic() - self._began, 3),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S"), "stage": stage, "event": event, **more,
        })

    def ledger(self) -> list[JsonObject]:
        """Every row, over all attempts; what no run has written is left out, as a torn row is."""
        return [row for row in durable.rows(self._ledger) if _is_row(row)]

    def recipe(self) -> JsonObject:
        """recipe.json, with the recipe's file, and the folder of its overrides, as they are from here: a run that was
        copied with its project means the recipe beside it. Raises RunError where it is gone, torn or not what a run
        writes."""
        file = self.path / "recipe.json"
        try:
            found = durable.read_json(file)
        except OSError as error:
            raise RunError(f"{file}: is gone; {self._writes_again()}") from error
        except ValueError as error:
            raise RunError(f"{file}: is torn; {self._writes_again()}") from error
        if not _is_recipe(found):
            raise RunError(f"{file}: is not what a run writes; {self._writes_again()}")
        return {**found, **{key: self._from_here(found[key], found["run"]) for key in ("file", "overrides_from")
                            if key in found and "run" in found}}

    def _from_here(self, place: str, run: str) -> str:
        """Where something is that was at `place` when this folder was at `run`."""
        if not (os.path.isabs(place) and os.path.isabs(run)):  # no run writes that
            return place
        moved = os.path.normpath(self.path.resolve() / os.path.relpath(place, run))
        return moved if os.path.exists(moved) else place

    def taken_from(self, file: str, made: Collection[str]) -> str:
        """The recipe's file whose run this is, where a run of `file`, which makes the artifacts of these names, would
        take it from that one: drop its links, and let `clean` remove what it has begun. Else empty."""
        try:
            own = str(self.recipe()["file"])
        except RunError:
            return ""
        if not os.path.exists(own) or os.path.samefile(own, file):  # one that is gone was renamed, or moved
            return ""
        has = self.begun().union(_name_of(name, artifact) for name, artifact in self.readable().items())
        return own if has.difference(made) else ""

    def stages(self) -> list[str] | None:
        """Names of the recipe's stages; None where recipe.json cannot be read."""
        try:
            return list(self.recipe()["stages"])
        except RunError:
            return None

    def faults(self) -> list[str]:
        """What is wrong with the files that the run itself writes, one line each."""
        found = []
        try:
            self.recipe()
        except RunError as error:
            found.append(str(error))
        if not self.ledger():
            what = "holds no row" if self._ledger.is_file() else "is gone"
            found.append(f"{self._ledger}: {what}, so that when its stages ran is not known; {self._writes_again()}")
        return found

    def command(self) -> str:
        """What goes on with the run, as a person typed it last; empty where the ledger does not tell."""
        commands = [row["command"] for row in self.ledger() if isinstance(row.get("command"), str)]
        return commands[-1] if commands else ""

    def _writes_again(self) -> str:
        return f"`{self.command() or 'retort run RECIPE'}` writes it again"

    def claimed(self) -> dict[str, str]:
        """Names of artifacts that the ledger says were finished or reused, by stage."""
        # The last word on a stage counts: it may have been made again by a later attempt.
        return {str(row["stage"]): Path(str(row["artifact"])).name for row in self.ledger()
                if row.get("event") in ("finished", "reused") and "artifact" in row and "stage" in row}

    def made_here(self) -> set[str]:
        """Names of the stages whose artifact this run has made, and not found made by another one."""
        # Of a stage that was made, edited and then found made elsewhere the first artifact is another one.
        made = {(row["stage"], row.get("artifact")) for row in self.ledger() if row["event"] == "finished"}
        return {name for name, artifact in self.readable().items() if (name, _name_of(name, artifact)) in made}

    def begun(self) -> set[str]:
        """Names of the artifacts that the run was last making, finished or not, as far as its ledger tells."""
        last = {str(row["stage"]): str(row["fingerprint"]) for row in self.ledger()
                if row.get("event") == "started" and "stage" in row and "fingerprint" in row}
        return {f"{stage}-{fingerprint[:SHORT]}" for stage, fingerprint in last.items()}

    def adopt(self, store: Store, names: Iterable[str]) -> None:
        """Make a run whole again that was copied without its links: a copy of an artifact that stands where a link
        belongs goes to the artifacts, or out of the way where it is there already; `link` does the rest. `names` are
        the recipe's stages: a folder that is neither an artifact nor called like one is somebody's own."""
        own = set(names)
        for folder in self._links():
            if folder.is_symlink():
                continue
            try:
                target = store.artifacts / _name_of(_stage_of(folder), Artifact(folder))
            except RunError:
                if _stage_of(folder) in own:
                    store.set_aside(folder)
                continue
            if target.exists():
                store.set_aside(folder)
            else:
                store.unfinished.mkdir(parents=True, exist_ok=True)
                durable.move_folder(folder, target, through=store.unfinished)

    def link(self, position: int, name: str, artifact: Path) -> None:
        """Point NN-NAME at an artifact, in one step, and drop links of that stage under another number."""
        # Relative, so that a folder of runs can be moved or copied as a whole, and from where this folder really is: it
        # may be a link to another disk. So may the folder of artifacts, which is named as it is called here.
        artifacts = artifact.parent
        target = os.path.relpath(artifacts.parent.resolve() / artifacts.name / artifact.name, self.path.resolve())
        link = self.path / f"{position:02d}-{name}"
        for old in self._links():
            if old.is_symlink() and _stage_of(old) == name and old != link:
                old.unlink()
        if link.is_symlink() and os.readlink(link) == target:
            return
        # A symbolic link cannot be changed, but it can be replaced in one step.
        temporary = self.path / f".{link.name}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)

    def keep_links(self, artifacts: Iterable[str]) -> None:
        """Drop links to other artifacts than those of these names: of stages that the recipe no longer has, and of
        those that it has changed since. What they led to stays among the artifacts."""
        kept = set(artifacts)
        for link in self._links():
            if link.is_symlink() and Path(os.readlink(link)).name not in kept:
                link.unlink()

    def artifacts(self) -> dict[str, Artifact]:
        """Finished artifacts by stage name, in the recipe's order; whether they can be read is another question."""
        return {_stage_of(link): Artifact(link.resolve()) for link in self._links()
                if link.is_dir() and (link.is_symlink() or (link / MANIFEST).is_file())}

    def lost(self) -> dict[str, str]:
        """What is wrong with links to artifacts that are not there, by stage: of a run that was copied without them, or
        of artifacts that somebody has removed."""
        again = f"`{self.command() or 'retort run RECIPE'}` makes it again"
        return {_stage_of(link): f"{link}: leads to {os.readlink(link)}, which is gone; copy a run with what its "
                                 f"links lead to (cp -rL), or {again}"
                for link in self._links() if not link.exists()}

    def readable(self) -> dict[str, Artifact]:
        """Those of `artifacts` whose stage.json can be read."""
        unreadable = self.unreadable()
        return {name: artifact for name, artifact in self.artifacts().items() if name not in unreadable}

    def unreadable(self) -> dict[str, str]:
        """What is wrong with the stage.json of the other ones, by stage."""
        found = {}
        for name, artifact in self.artifacts().items():
            try:
                _ = artifact.manifest
            except RunError as error:
                found[name] = str(error)
        return found

    def _links(self) -> list[Path]:
        """NN-NAME: links to artifacts, or the folders that `cp -L` makes of them."""
        if not self.path.is_dir():
            return []
        named = (path for path in self.path.iterdir() if re.fullmatch(r"[0-9]{2,9}-.+", path.name))
        links = [path for path in named if path.is_symlink() or path.is_dir()]
        return sorted(links, key=lambda link: int(link.name.partition("-")[0]))


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, also one that has lost some of its files."""
    own = any((folder / file).is_file() for file in ("recipe.json", "ledger.jsonl"))
    return own or (folder.name != "artifacts" and bool(RunFolder(folder).artifacts()))


def find_run(reference: str, runs: Path) -> Path:
    """The folder of a run given as a path or as a name under `runs`. Raises CommandError."""
    for folder in (Path(reference), runs / reference):
        if is_run(folder):
            return folder
    known = [path.name for path in runs.iterdir() if is_run(path)] if runs.is_dir() else []
    raise CommandError(f"{reference}: there is no such run in {runs}{did_you_mean(Path(reference).name, known)}")


def _is_row(row: JsonMapping) -> bool:
    """Whether a run may have written this: the folder may be anyone's, or come from a broken disk."""
    at = row.get("at")
    return (
        isinstance(at, int | float) and 0 <= at < _LONGEST
        and all(isinstance(row.get(key), kind) for key, kind in _IN_EVERY_ROW.items())
        and all(isinstance(row[key], kind) for key, kind in _IN_SOME_ROWS.items() if key in row)
    )


def _is_recipe(found: object) -> TypeGuard[JsonObject]:
    if not isinstance(found, dict):
        return False
    file, overrides, stages = (found.get(key) for key in ("file", "overrides", "stages"))
    places = (found.get(key, "") for key in ("overrides_from", "run"))
    return (isinstance(file, str) and isinstance(stages, dict) and all(isinstance(place, str) for place in places)
            and isinstance(overrides, list) and all(isinstance(override, str) for override in overrides))


def _stage_of(link: Path) -> str:
    return link.name.partition("-")[2]


def _name_of(stage: str, artifact: Artifact) -> str:
    """What an artifact is called in the store, also one that was copied to where a link to it stood. Raises RunError
    where its stage.json cannot be read."""
    return f"{stage}-{str(artifact.manifest['fingerprint'])[:SHORT]}"


def wall_seconds(ledger: Iterable[JsonMapping]) -> float:
    """Seconds that the run took, over all its attempts; one that was killed counts up to its last row."""
    last: dict[str, float] = {}
    for row in ledger:
        attempt = str(row.get("attempt"))
        # The clock of an attempt does not jump; times of day do.
        last[attempt] = max(last.get(attempt, 0.0), float(row.get("at", 0.0)))
    return sum(last.values())
