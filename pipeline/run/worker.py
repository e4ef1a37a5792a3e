"""The process that runs one stage: `python -m pipeline.run.worker JOB.json`, also under `accelerate launch`.

The job says everything that the stage needs (see `pipeline.run.job`); what happens is told as JSONL events.
"""

import importlib
import math
import os
import random
import reprlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any  # scalars of numpy and torch, of which neither may be loaded

from pipeline.contract import processes
from pipeline.contract.checkpoints import METRICS, Checkpoints
from pipeline.contract.errors import StageError, StageStopped
from pipeline.contract.stage import Stage, stage_seed
from pipeline.disk import durable, locks
from pipeline.recipe import asked, fingerprint, inputs
from pipeline.recipe.plugins import registry_of
from pipeline.run.foreign_calls import ForeignCalls
from pipeline.run.job import Job
from pipeline.run.tracking.tracking import Tracking
from pipeline.run.versions import hardware, processor, versions
from pipeline.store import store
from pipeline.store.kept_rollouts import KeptRollouts
from rewards import foreign
from rewards.errors import RetortError
from rewards.lazy import lazy
from rewards.sandbox.levels import Level
from rewards.sandbox.pool import sandbox

with lazy:
    import numpy
    import torch

    from pipeline.models import shrunk
    from pipeline.training import placement


_LONGEST = 2000  # characters of a note
_EVERY = 0.2  # seconds between two progress events at least
_HEARTBEAT = 0.5  # seconds between two looks at whether the runner lives


class Events:
    """Tells the runner what happens. Of several processes the first one does; the others tell why they failed."""

    def __init__(self, path: Path, *, silent: bool) -> None:
        self._path, self._silent = path, silent

    def tell(self, event: str, **more: object) -> None:
        if not self._silent:
            durable.append_row(self._path, {"event": event, **more})

    def failed(self, message: str, *, expected: bool) -> None:
        """`expected` is an error that is told in full by its message."""
        where = "" if processes.is_first() else f"process {processes.place() + 1} of {processes.count()}: "
        durable.append_row(self._path, {"event": "failed", "message": f"{where}{message}", "expected": expected})


class WorkerContext:
    """The `Context` of a running stage."""

    def __init__(self, job: Job, events: Events, *, main: bool) -> None:
        self.name = job.name
        self.seed = stage_seed(job.seed, self.name)
        self.out = job.out
        shared = store.Store(job.artifact.parent.parent)
        self.cache = shared.cache
        self._kept = KeptRollouts(shared.kept / job.artifact.name)
        self.checkpoints = Checkpoints(
            job.checkpoints, self.out / METRICS, _facts(job), job.schedule, note=self.note, inexact=job.inexact
        )
        self._sources = job.sources
        self._events, self._main = events, main
        self.tracking = Tracking(job, note=self.note, silent=not main)
        self._told = 0.0

    def path(self, reference: str) -> Path:
        source = self._sources[reference]
        if source["origin"] == "shrunk":
            return shrunk.folder_of(self.cache, source["config"], source["digest"])
        if source["origin"] != "hub":
            return Path(source["path"])
        try:
            return inputs.download(source["repository"], source["type"], source["commit"])
        except inputs.InputError as error:
            raise StageError(str(error)) from error

    def label(self, reference: str) -> str:
        return reference

    def progress(self, done: float, total: float, **figures: float | str) -> None:
        now = time.monotonic()
        # The last one is always told, so that a display does not end at 97%.
        if done < total and now - self._told < _EVERY:
            return
        self._told = now
        shown = {key: plain for key, value in figures.items() if (plain := _plain(value, key)) is not None}
        done, total = _plain(done, "done"), _plain(total, "total")
        if done is not None and total is not None:
            self._events.tell("progress", done=done, total=total, figures=shown)

    def log(self, row: Mapping[str, object]) -> None:
        if self._main:
            # From there trackers are told, too.
            durable.append_row(self.out / METRICS, {key: _plain(value, key) for key, value in row.items()})

    def keep_rollouts(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        if self._main:
            self._kept.write(step, rows)
            self.tracking.rollouts(step, rows)

    def note(self, text: str) -> None:
        self._events.tell("note", text=str(text)[:_LONGEST])


def run_job(job_file: Path) -> int:
    """Run a job to its end and return the exit code; what goes wrong is an event, and a traceback on stderr."""
    job = Job.read(job_file)
    main = processes.is_first()
    events = Events(job.events, silent=not main)
    if not _runner_lives(job.lock, job.token):
        print("the run that this job is of is not running any more; start it again with `retort run`", file=sys.stderr)
        return 1
    # The kernel ends a forked stage with its parent; one that accelerate has launched needs this.
    _die_with_runner(job.lock, job.token)
    events.tell("started", pid=os.getpid())
    try:
        if main:
            _require_unedited(job)
        stage = _load(job)
        if main:
            _require_unedited(job, stage)
        _seed_streams(stage_seed(job.seed, job.name))
        context = WorkerContext(job, events, main=main)
        with context.tracking:
            with foreign.watched_by(ForeignCalls(job.calls, processes.place())):
                metrics = _metrics(stage.run(context), context)
            # The artifact is whole when every process has written what is its own.
            _wait_for_other_processes()
            if main:
                _require_unedited(job, stage)
            seconds = round(context.checkpoints.seconds, 3)
            context.tracking.finish(metrics)
        if main:
            manifest = {**job.manifest, "seconds": seconds, "metrics": metrics, "versions": versions(),
                        "hardware": hardware(), "processor": processor()}
            store.finish(job.out, job.artifact, manifest)
        events.tell("done", seconds=seconds, metrics=metrics)
        _leave_other_processes()
    except StageStopped as error:
        print(error, file=sys.stderr)
        return 128 + signal.SIGTERM
    except RetortError as error:
        events.failed(" ".join(str(error).split()), expected=True)
        return 1
    except Exception as error:  # the boundary of the process: the log gets the traceback, the person one line
        traceback.print_exc()
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        events.failed(message[:200], expected=False)
        return 1
    return 0


def _require_unedited(job: Job, stage: Stage | None = None) -> None:
    """Raises StageError where a file, a plug-in or (with `stage`) a problem set is not what the fingerprint was made
    of when the run began: what the stage makes would be found by that fingerprint ever after."""
    parts, shared = job.manifest["parts"], store.Store(job.artifact.parent.parent)
    paths = {reference: Path(source["path"]) for reference, source in job.sources.items() if source["origin"] == "path"}
    edited = fingerprint.edited(parts, paths, job.folder, job.accelerate, shared.hashes)
    if stage is not None and "problems" in parts:
        edited += asked.edited(parts["problems"], asked.asked_by(stage, stage_seed(job.seed, job.name)), job.folder)
    shared.hashes.keep()
    if edited:
        raise StageError(f"{edited[0]} was edited since the run began; run it again")


def _metrics(given: object, context: WorkerContext) -> dict[str, object]:
    """A stage's metrics as they are kept. Raises StageError where they are none."""
    if not isinstance(given, Mapping):
        raise StageError(f"`run` returned {reprlib.repr(given)}; it returns its metrics, such as {{'loss': 0.5}}")
    # The first process may have made the artifact of it by now.
    if processes.is_first() and not context.out.is_dir():
        raise StageError("the stage removed `ctx.out`, the folder that was to become its artifact")
    kept = {}
    for key, value in given.items():
        kept[str(key)] = _plain(value, str(key))
        if kept[str(key)] is None and value is not None:
            context.note(f"metric {key!r} is {value}, and is kept as null")
    return kept


def _facts(job: Job) -> dict[str, object]:
    """What two attempts at a stage have to share to end with the same bytes."""
    # Of an artifact that was made again the fingerprint is the same.
    contents = {f"bytes of {name}": source["content"][:10] for name, source in job.sources.items()
                if "content" in source}
    return {
        "fingerprint": job.manifest["fingerprint"], "threads": job.threads, **contents,
        "processes": processes.count(), "hardware": hardware(), **versions(), **job.computed,
    }


def _load(job: Job) -> Stage:
    os.environ["OMP_NUM_THREADS"] = str(job.threads)  # for what is not loaded yet, and for children
    kind: type[Stage] = registry_of("stage").resolve(job.kind, base=job.folder).load()
    stage = kind.model_validate(job.config, context={"base": job.folder})
    registry_of("verifier").folder = job.folder
    if job.sandbox_at_least != "L1":  # which there always is
        sandbox.at_least = Level[job.sandbox_at_least]
    for module in stage.preload:
        importlib.import_module(module)
    # A stage that computes nothing is not to load torch for this.
    if "torch" in sys.modules:
        # Before there are models and rows, as their trainers would say it; a plug-in may train in a way of its own.
        if kind.__module__.startswith("pipeline.stages.") and (work := stage.work()) and work.trained:
            placement.require_one_gpu()
        torch.set_num_threads(job.threads)
        if placement.own_device().type == "cpu":
            # With several threads some sums (gradients of what is read by index) would be in whatever order they come.
            torch.set_deterministic_debug_mode("warn")  # what `use_deterministic_algorithms` does, without inductor
            # A check for others' mistakes, and slow.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return stage


def _seed_streams(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        numpy.random.seed(seed)
    if "torch" in sys.modules:
        torch.manual_seed(seed)


def _in_a_group() -> bool:
    return "torch" in sys.modules and torch.distributed.is_available() and torch.distributed.is_initialized()


def _wait_for_other_processes() -> None:
    if _in_a_group():
        torch.distributed.barrier()


def _leave_other_processes() -> None:
    """A process that ends as a member of its group may abort inside of gloo, and its launcher would call that a
    failure."""
    if _in_a_group():
        torch.distributed.destroy_process_group()


def _runner_lives(lock: Path, token: str) -> bool:
    return (locks.holder(lock) or {}).get("token") == token


def _die_with_runner(lock: Path, token: str) -> None:
    """End this process group when the run's lock no longer has the runner's token, or what started it is gone, so that
    no orphan goes on writing."""

    started_by, held = os.getppid(), locks.Watched(lock, token)

    def watch() -> None:
        # What accelerate's launcher has started is in groups of its own, which no signal to the launcher's reaches.
        while not held.lost() and os.getppid() == started_by:
            time.sleep(_HEARTBEAT)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="watch-runner", daemon=True).start()


def _plain(value: Any, name: str) -> Any:
    """Numbers of numpy and torch as Python's, so that they can be written as JSON, which has no NaN and no infinity:
    they become None. Raises StageError for what is neither a number nor made of numbers and texts."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, name) for item in value]
    if isinstance(value, Path):
        return str(value)
    # Neither library is loaded for this: where it is not, the value is none of its scalars.
    if ("numpy" in sys.modules and isinstance(value, numpy.generic | numpy.ndarray)) or (
        "torch" in sys.modules and isinstance(value, torch.Tensor)
    ):
        return _plain(_scalar(value, name), name)
    raise StageError(f"{name!r} is a {type(value).__qualname__}, which is no number, text, list or mapping")


def _scalar(value: Any, name: str) -> bool | int | float:
    try:
        found = value.item()
    except (AttributeError, ValueError, RuntimeError) as error:
        raise StageError(f"{name!r} is a {type(value).__qualname__} that is not one number") from error
    if not isinstance(found, bool | int | float):
        raise StageError(f"{name!r} is a {type(value).__qualname__}, which is no real number")
    return found


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m pipeline.run.worker JOB.json", file=sys.stderr)
        return 2
    return run_job(Path(arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
