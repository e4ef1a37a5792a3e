"""Checkpoints inside a stage: written whole or not at all, at moments that bound their cost, and checked before use."""

import contextlib
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from eval.pieces import Pieces
from pipeline.contract import processes
from pipeline.contract.errors import StageError
from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.disk.hashes import file_hashes

MANIFEST = "checkpoint.json"
METRICS = "metrics.jsonl"
_HOLDS = {"step": int, "seconds": int | float, "facts": dict, "files": dict}


def grace(environment: Mapping[str, str]) -> float:
    """Seconds, by RETORT_GRACE. Raises StageError where that is no number of seconds."""
    said = environment.get("RETORT_GRACE", "270")
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(said)) < math.inf:
            return seconds
    raise StageError(f"RETORT_GRACE is {said!r}; it is the seconds of a stage's last checkpoint, such as 270")


GRACE = grace(os.environ)
"""Seconds that a stage has after SIGTERM to end its step and write a checkpoint. What Slurm gives is a little more: the
script of `retort launch` sets the variable by what it asks Slurm for."""
COST = 0.02
"""Largest share of a stage's time that goes into checkpoints: where one takes long, they are made more rarely."""


class CheckpointSchedule(BaseModel):
    """When checkpoints are made: by time, by optimizer steps or both. Whether one is made cannot change a result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_seconds: float | None = Field(
        default=60.0, gt=0, json_schema_extra={"unit": "seconds"},
        description="least time between two checkpoints; null makes none by time"
    )
    every_steps: int | None = Field(
        default=None, ge=1, json_schema_extra={"unit": "steps"},
        description="optimizer steps between two checkpoints; left out, none is made by steps"
    )


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint, of the step that it was made after."""

    path: Path
    step: int


class Checkpoints:
    """The checkpoints of one stage: `folder`/step-N, the last one alone.

    `facts` is what a continuation has to share with a checkpoint for its bytes to be those of an uninterrupted run:
    fingerprint, versions, world size, threads, hardware. `metrics` is the stage's metrics.jsonl, which goes back to
    where it was with the rest.
    """

    def __init__(self, folder: Path, metrics: Path, facts: JsonMapping, schedule: CheckpointSchedule, *,
                 note: Callable[[str], None], inexact: bool = False) -> None:
        self.folder, self.metrics, self.facts, self.schedule = folder, metrics, dict(facts), schedule
        self.stopping = False
        self._note, self._inexact = note, inexact
        self._began = self._last = time.monotonic()
        self._worked = self._cost = 0.0
        self._told = False

    @property
    def temporary(self) -> Path:
        """Where a checkpoint is while it is being written."""
        return self.folder / ".writing"

    @property
    def seconds(self) -> float:
        """The stage's work so far, over all attempts; what was done after the last checkpoint of a killed one is
        lost."""
        return self._worked + time.monotonic() - self._began

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be made after this step; asked once a step."""
        plan = self.schedule
        if plan.every_steps and step % plan.every_steps == 0:
            return True
        waited = time.monotonic() - self._last
        # A checkpoint that took a second is followed by none for fifty, whatever the schedule says.
        return plan.every_seconds is not None and waited >= max(plan.every_seconds, self._cost / COST)

    @contextlib.contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """A folder to write the checkpoint of a step into, which becomes it when the block ends without an error."""
        began = time.monotonic()
        temporary = self.temporary
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        if self.metrics.exists():
            # Rows that are logged after this step are logged again by a continuation.
            shutil.copyfile(self.metrics, temporary / METRICS)
        durable.sync_files(temporary)
        files = file_hashes(temporary, MANIFEST)
        # The manifest is last: a folder with one has all files that it names.
        durable.write_json(temporary / MANIFEST, {
            "step": step, "seconds": round(self.seconds, 3), "cost": round(time.monotonic() - began, 3),
            "facts": self.facts, "files": files,
        })
        final = self.folder / f"step-{step}"
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        durable.sync_folder(self.folder)
        # Only once the new one is on disk; until then the old one is what there is to go on from.
        for old in self._folders():
            if old != final:
                shutil.rmtree(old)
        self._last = time.monotonic()
        self._cost = self._last - began
        if self._cost > GRACE and not self._told:
            self._told = True
            self._note(f"a checkpoint takes {self._cost:.0f} seconds, and a stop leaves {GRACE:.0f}: it would lose "
                       f"what came after the last one; a job has more by retort launch --ahead {2 * self._cost:.0f}")

    def latest(self) -> Checkpoint | None:
        """The last whole checkpoint, with metrics.jsonl put back to it; a damaged one is told of and not used.

        Raises StageError for a checkpoint from which the bytes of an uninterrupted run cannot be reached, unless asked
        to go on inexactly.
        """
        for folder in self._folders():
            fault = damage(folder)
            if fault:
                self._note(f"the checkpoint {folder.name} is damaged ({fault}), and is not used")
                continue
            manifest = durable.read_json(folder / MANIFEST)
            self._refuse_inexact(folder, manifest["facts"])
            if (folder / METRICS).exists():
                shutil.copyfile(folder / METRICS, self.metrics)
            # What a killed attempt did after this checkpoint is done again, and so is not counted.
            self._worked = manifest["seconds"]
            self._cost = manifest.get("cost", 0.0)
            self._note(f"goes on from its checkpoint at step {manifest['step']}")
            return Checkpoint(folder, manifest["step"])
        return None

    def pieces(self, *, alone: bool = False) -> Pieces:
        """Rollouts that the stage has finished, for stages that sample and do not train; its processes share what is
        left, or `alone` this one makes all. Raises StageError as `latest` does."""
        shared = (0, 1) if alone else (processes.place(), processes.count())
        folder = self.folder / "rollouts"
        facts = folder / MANIFEST
        if facts.exists():
            try:
                theirs = _object(facts)
            except ValueError as error:
                # Without knowing what they were made with nobody can go on from them.
                if processes.count() > 1:  # another one may be writing there already
                    raise StageError(f"{folder} is damaged ({error}); remove it to begin again") from error
                self._note(f"the rollouts that were kept are damaged ({error}), and are not used")
                shutil.rmtree(folder)
            else:
                # A piece holds the same whatever the number of processes.
                self._refuse_inexact(folder, {**theirs, "processes": self.facts.get("processes")})
                return Pieces(folder, *shared)
        folder.mkdir(parents=True, exist_ok=True)
        if processes.is_first():
            durable.write_json(facts, self.facts)
        return Pieces(folder, *shared)

    def _refuse_inexact(self, folder: Path, theirs: JsonMapping) -> None:
        # A checkpoint has the facts of the process that wrote it: others may be on machines of another kind.
        others = () if processes.is_first() else ("hardware",)
        names = sorted({*theirs, *self.facts}.difference(others))
        other = [
            f"{name} {theirs.get(name)}, now {self.facts.get(name)}"
            for name in names if theirs.get(name) != self.facts.get(name)
        ]
        if not other:
            return
        if self._inexact:
            self._note(f"goes on inexactly: {folder.name} was made with {'; '.join(other)}")
            return
        raise StageError(f"its checkpoint {folder.name} was made with {'; '.join(other)}: going on would not give the "
                         "bytes of an uninterrupted run. Add --inexact to go on all the same, or remove "
                         f"{folder.parent} to begin again")

    def _folders(self) -> list[Path]:
        found = [path for path in self.folder.glob("step-*") if path.name.removeprefix("step-").isdecimal()]
        return sorted(found, key=lambda path: -int(path.name.removeprefix("step-")))

    @contextlib.contextmanager
    def until_stopped(self) -> Iterator[None]:
        """While this lasts SIGTERM only sets `stopping`, for a loop that looks at it after each step."""

        def stop(*_: object) -> None:
            self.stopping = True

        # A step is never torn: the loop ends it, writes a checkpoint and leaves.
        before = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def _object(file: Path) -> JsonObject:
    """A JSON object. Raises OSError, and ValueError where the file holds none."""
    found = durable.read_json(file)
    if not isinstance(found, dict):
        raise ValueError(f"{file.name} holds no object")
    return found


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None."""
    try:
        manifest = _object(folder / MANIFEST)
    except (OSError, ValueError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    wrong = [key for key, kind in _HOLDS.items() if not isinstance(manifest.get(key), kind)]
    if wrong:
        return f"{MANIFEST} has no {wrong[0]}"
    expected = manifest["files"]
    found = file_hashes(folder, MANIFEST)
    changed = [name for name in {*expected, *found} if expected.get(name) != found.get(name)]
    return f"{min(changed)} is not what was written" if changed else None
