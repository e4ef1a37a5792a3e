"""RUNS/RUN/: the resolved recipe, the ledger, links to the artifacts, the logs."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.disk.locks import Lock
from pipeline.store.store import Artifact


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
        """Start an attempt at the run: writes recipe.json and the ledger's first row of the attempt."""
        self.logs.mkdir(parents=True, exist_ok=True)
        durable.write_json(self.path / "recipe.json", recipe)
        self._attempt, self._began = attempt, time.monotonic()
        self.record("run", event="began", command=command)

    def record(self, stage: str, *, event: str, **more: object) -> None:
        """One row. `at` is seconds since the attempt began, from a clock that does not jump; `time` is for people."""
        durable.append_row(self._ledger, {
            "attempt": self._attempt, "at": round(time.monotonic() - self._began, 3),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S"), "stage": stage, "event": event, **more,
        })

    def ledger(self) -> list[JsonObject]:
        """Every row, over all attempts."""
        return durable.rows(self._ledger)

    def recipe(self) -> JsonObject:
        """recipe.json; empty where the run has none."""
        file = self.path / "recipe.json"
        found: JsonObject = json.loads(file.read_text()) if file.is_file() else {}
        return found

    def link(self, position: int, name: str, artifact: Path) -> None:
        """Point NN-NAME at an artifact, in one step, and drop links of that stage under another number."""
        # Relative, so that a folder of runs can be moved or copied as a whole.
        target = os.path.relpath(artifact, self.path)
        link = self.path / f"{position:02d}-{name}"
        for old in self._links():
            if _stage_of(old) == name and old != link:
                old.unlink()
        if link.is_symlink() and os.readlink(link) == target:
            return
        # A symbolic link cannot be changed, but it can be replaced in one step.
        temporary = self.path / f".{link.name}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)

    def keep_links(self, names: Iterable[str]) -> None:
        """Drop links of stages that the recipe no longer has; their artifacts stay."""
        kept = set(names)
        for link in self._links():
            if _stage_of(link) not in kept:
                link.unlink()

    def artifacts(self) -> dict[str, Artifact]:
        """Finished artifacts by stage name, in the recipe's order."""
        return {_stage_of(link): Artifact(link.resolve()) for link in self._links() if (link / "stage.json").is_file()}

    def _links(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        links = [p for p in self.path.iterdir() if p.is_symlink() and p.name.partition("-")[0].isdigit()]
        return sorted(links, key=lambda link: int(link.name.partition("-")[0]))


def _stage_of(link: Path) -> str:
    return link.name.partition("-")[2]


def wall_seconds(ledger: Iterable[JsonMapping]) -> float:
    """Seconds that the run took, over all its attempts; one that was killed counts up to its last row."""
    last: dict[str, float] = {}
    for row in ledger:
        attempt = str(row.get("attempt"))
        # The clock of an attempt does not jump; times of day do.
        last[attempt] = max(last.get(attempt, 0.0), float(row.get("at", 0.0)))
    return sum(last.values())
