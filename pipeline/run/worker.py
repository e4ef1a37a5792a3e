"""The process that runs one stage: `python -m pipeline.run.worker JOB.json`, also under `accelerate launch`.

A job file says everything that the stage needs; what happens is told as JSONL events. The job:
    name, kind, folder, config     the stage, and where its relative paths start
    seed, threads                  `seed` is the recipe's
    sources                        reference -> {"origin", "path"} or {"origin", "repository", "type", "commit"}
    out, artifact, events          where it works, what `out` becomes, where events go
    lock, token                    the run's lock: when it no longer carries the token, the runner is gone
    sandbox_at_least               the level below which no model-written program is run
    checkpoints                    {"folder", "schedule", "inexact"}: see pipeline.contract.checkpoints
    manifest                       what is known beforehand of stage.json
"""

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.contract import processes
from pipeline.contract.checkpoints import METRICS, Checkpoints, CheckpointSchedule
from pipeline.contract.errors import StageError, StageStopped
from pipeline.contract.stage import Stage
from pipeline.disk import durable, locks
from pipeline.recipe import inputs
from pipeline.run.versions import hardware, versions
from pipeline.store import store

_EVERY = 0.2  # seconds between two progress events at least
_HEARTBEAT = 0.5  # seconds between two looks at whether the runner lives


class Events:
    """Tells the runner what happens. Only the first process of an `accelerate launch` has something to say."""

    def __init__(self, path: Path, *, silent: bool) -> None:
        self._path, self._silent = path, silent

    def tell(self, event: str, **more: Any) -> None:
        if not self._silent:
            durable.append_row(self._path, {"event": event, **more})


class WorkerContext:
    """The `Context` of a running stage."""

    def __init__(self, job: Mapping[str, Any], events: Events, *, main: bool) -> None:
        self.name: str = job["name"]
        self.seed = stage_seed(job["seed"], self.name)
        self.out = Path(job["out"])
        wanted = job["checkpoints"]
        self.checkpoints = Checkpoints(
            Path(wanted["folder"]), self.out / METRICS, _facts(job), CheckpointSchedule(**wanted["schedule"]),
            note=self.note, inexact=wanted["inexact"],
        )
        self._sources: Mapping[str, Any] = job["sources"]
        self._events, self._main = events, main
        self._told = 0.0

    def path(self, reference: str) -> Path:
        source = self._sources[reference]
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
        if done < total and now - self._told < _EVERY:
            return
        self._told = now
        self._events.tell("progress", done=_plain(done), total=_plain(total),
                          figures={key: _plain(value) for key, value in figures.items()})

    def log(self, row: Mapping[str, Any]) -> None:
        if self._main:
            durable.append_row(self.out / METRICS, {key: _plain(value) for key, value in row.items()})

    def note(self, text: str) -> None:
        self._events.tell("note", text=text)


def run_job(job_file: Path) -> int:
    """Run a job to its end and return the exit code; what goes wrong is an event, and a traceback on stderr."""
    job = json.loads(job_file.read_text())
    main = processes.is_first()
    events = Events(Path(job["events"]), silent=not main)
    if not _runner_lives(Path(job["lock"]), job["token"]):
        print("the run that this job is of is not running any more; start it again with `retort run`", file=sys.stderr)
        return 1
    _die_with_runner(Path(job["lock"]), job["token"])
    events.tell("started", pid=os.getpid())
    try:
        stage = _load(job)
        _seed_streams(stage_seed(job["seed"], job["name"]))
        context = WorkerContext(job, events, main=main)
        metrics = _plain(stage.run(context))
        _wait_for_other_processes()
        seconds = round(context.checkpoints.seconds, 3)
        if main:
            store.finish(Path(job["out"]), Path(job["artifact"]),
                         {**job["manifest"], "seconds": seconds, "metrics": metrics, "versions": versions()})
        events.tell("done", seconds=seconds, metrics=metrics)
    except StageStopped as error:
        print(error, file=sys.stderr)
        return 128 + signal.SIGTERM
    except StageError as error:
        events.tell("failed", message=" ".join(str(error).split()), expected=True)
        return 1
    except Exception as error:  # the boundary of the process: the log gets the traceback, the person one line
        traceback.print_exc()
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        events.tell("failed", message=message[:200], expected=False)
        return 1
    return 0


def _facts(job: Mapping[str, Any]) -> dict[str, Any]:
    """What two attempts at a stage have to share to end with the same bytes."""
    return {
        "fingerprint": job["manifest"]["fingerprint"], "threads": job["threads"],
        "processes": processes.count(), "hardware": hardware(), **versions(),
    }


def stage_seed(seed: int, name: str) -> int:
    """Seed of a stage's random streams, below 2**31: two stages of one recipe never share a stream."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1


def _load(job: Mapping[str, Any]) -> Stage:
    from pipeline.recipe.plugins import registry_of

    os.environ["OMP_NUM_THREADS"] = str(job["threads"])  # for what is not loaded yet, and for children
    folder = Path(job["folder"])
    kind: type[Stage] = registry_of("stage").resolve(job["kind"], base=folder).load()
    stage = kind.model_validate(job["config"], context={"base": folder})
    if job["sandbox_at_least"] != "L1":  # which there always is
        from rewards.sandbox.levels import Level
        from rewards.sandbox.pool import sandbox

        sandbox.at_least = Level[job["sandbox_at_least"]]
    for module in stage.preload:
        importlib.import_module(module)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(job["threads"])
    return stage


def _seed_streams(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        import numpy

        numpy.random.seed(seed)
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)


def _wait_for_other_processes() -> None:
    if "torch" in sys.modules:
        import torch

        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()


def _runner_lives(lock: Path, token: str) -> bool:
    return (locks.holder(lock) or {}).get("token") == token


def _die_with_runner(lock: Path, token: str) -> None:
    """End this process group when the run's lock no longer has the runner's token, so that no orphan goes on
    writing."""

    def watch() -> None:
        while _runner_lives(lock, token):
            time.sleep(_HEARTBEAT)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="watch-runner", daemon=True).start()


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch as Python's, so that they can be written as JSON."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item()


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m pipeline.run.worker JOB.json", file=sys.stderr)
        return 2
    return run_job(Path(arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
