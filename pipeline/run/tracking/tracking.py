"""A stage's side of its trackers: starts their processes, leaves them tables of rollouts, tells them its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from pipeline.contract.checkpoints import METRICS
from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping
from pipeline.run.job import Job
from pipeline.run.tracking import telling
from pipeline.run.tracking.tracker import COLUMNS, Told, Watched

MOST_ROLLOUTS = 64
"""Rollouts of a step that a table shows."""

LONGEST = 10_000
"""Characters of a text in a table."""

_WAITING = 20  # tables that may wait for a tracker; further ones are left out until it has taken some


class Tracking:
    """The trackers of a stage, from `with tracking:` on. Rows of metrics need no call: they are read from
    metrics.jsonl. Of several processes of a stage the first one alone has trackers; `silent` is for the others."""

    def __init__(self, job: Job, *, note: Callable[[str], None], silent: bool = False) -> None:
        self._names = [] if silent else job.report_to
        self._watched = Watched(
            project=job.recipe, group=job.run.name, stage=job.name, kind=job.kind, run=job.run, events=job.events,
            fingerprint=str(job.manifest["fingerprint"]), metrics=job.out / METRICS,
        )
        self._folder, self._note = job.tracking, note
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._full: set[str] = set()

    def __enter__(self) -> "Tracking":
        if self._names:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / telling.FINAL).unlink(missing_ok=True)
            self._watched.write(self._folder / telling.WATCHED)
        for name in self._names:
            (self._folder / name).mkdir(exist_ok=True)
            # In a session of its own it can tell what was logged when the stage is killed.
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.run.tracking.telling", str(self._folder), name],
                stdin=subprocess.PIPE, start_new_session=True,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._end_input()

    def rollouts(self, step: int, rows: Sequence[JsonMapping]) -> None:
        """Show rollouts of a step as a table; `rows` are as they are kept, and what a row lacks is left empty."""
        if not self._processes:
            return
        table = {"step": step, "rows": [[_cell(row.get(key)) for key in COLUMNS] for row in rows[:MOST_ROLLOUTS]]}
        for name, process in self._processes.items():
            if process.poll() is not None:  # it could not begin, and has said so
                continue
            folder = self._folder / name
            if len(list(folder.glob("step-*.json"))) < _WAITING:
                durable.write_json(folder / f"step-{step:09d}.json", table)
            elif name not in self._full:
                self._full.add(name)
                self._note(f"{name} is slow: some tables of rollouts are left out")

    def finish(self, metrics: JsonMapping) -> None:
        """Tell the stage's metrics, and wait until everything was taken; for `telling.PATIENCE` seconds at most."""
        if not self._processes:
            return
        durable.write_json(self._folder / telling.FINAL, metrics)
        self._end_input()
        until = time.monotonic() + telling.PATIENCE
        for name, process in self._processes.items():
            try:
                code = process.wait(max(until - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with what the library has started
                code = process.wait()
            if code:
                self._note(self._unfinished(name, code))

    def _end_input(self) -> None:
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()

    def _unfinished(self, name: str, code: int) -> str:
        told = Told.read(self._folder / name / telling.TOLD)
        rows = f"{told.rows} rows" if told else "nothing"
        why = f"its process ended with code {code}" if code > 0 else f"it took longer than {telling.PATIENCE} seconds"
        return f"{name} was told {rows} and did not come to an end: {why}; everything is in the stage's metrics.jsonl"


def _cell(value: object) -> object:
    return value[:LONGEST] if isinstance(value, str) else value

