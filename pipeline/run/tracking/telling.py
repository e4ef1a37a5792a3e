"""The process that tells one tracker of one stage: `python -m pipeline.run.tracking.telling FOLDER TRACKER`.

It reads what the stage writes, so that the stage neither waits for a tracker nor fails with it, and no library of a
tracker takes from the stage's random streams. Standard input says how long the stage lives: where it ends, the stage
has ended, however it ended; what was logged is then told, and after PATIENCE seconds it is over.
"""

import os
import re
import secrets
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.disk.locks import Held, Lock
from pipeline.run.tracking.tensorboard import TensorBoard
from pipeline.run.tracking.tracker import Told, Tracker, Watched
from pipeline.run.tracking.trackio import Trackio
from pipeline.run.tracking.wandb import Wandb

PATIENCE = 30
"""Seconds that a tracker has, after the stage's end, to take what was logged."""

WATCHED = "watched.json"
"""The file beside the trackers' folders in which the stage says what there is to read."""

FINAL = "final.json"
"""The file beside the trackers' folders in which a stage that has come to its end leaves its metrics."""

TOLD = "told.json"
"""The file in a tracker's folder that says what it was told."""

TRACKERS: dict[str, Callable[..., Tracker]] = {"trackio": Trackio, "wandb": Wandb, "tensorboard": TensorBoard}

_EVERY = 0.5  # seconds between two looks at what the stage has written
_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")


class Rows:
    """The rows of a metrics.jsonl that is being written, and that a stage puts back to where a checkpoint has it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = self._number = 0

    def new(self) -> list[tuple[int, JsonObject]]:
        """Whole rows that were written since this was last asked, with their numbers."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as stream:
            if stream.seek(0, os.SEEK_END) < self._read:
                self._read = self._number = 0
            stream.seek(self._read)
            *lines, _ = stream.read().split(b"\n")  # the last part is no whole line yet, or empty
        self._read += sum(len(line) + 1 for line in lines)
        rows = [row for line in lines if (row := durable.row(line))]
        self._number += len(rows)
        return list(enumerate(rows, self._number - len(rows)))


class Teller:
    """Tells a tracker everything once. What it does not take is counted, and the first time said in a note."""

    def __init__(self, folder: Path, name: str, ended: threading.Event) -> None:
        self._name, self._ended = name, ended
        self._watched = Watched.read(folder / WATCHED)
        self._final, self._folder = folder / FINAL, folder / name
        self._file = self._folder / TOLD
        self._rows = Rows(self._watched.metrics)
        self._lost = 0

    def run(self) -> None:
        """Tell until the stage has ended."""
        with self._lock():
            self._told = Told.read(self._file) or Told(key=secrets.token_hex(8))
            tracker: list[Tracker] = []
            self._try(lambda: tracker.append(self._begun()), "begin")
            if not tracker:
                return
            self._told.write(self._file)
            while not self._ended.wait(_EVERY):
                self._tell_new(tracker[0])
            self._tell_new(tracker[0])
            self._tell_final(tracker[0])
            self._try(tracker[0].close, "end")
        if self._lost > 1:
            self._note(f"did not take {self._lost} things that it was told; they are in {self._watched.metrics.name}")

    def _lock(self) -> Lock:
        """The right to tell this tracker: the process of an attempt that was killed may still be at its end."""
        while True:
            try:
                return Lock(self._folder / "lock")
            except Held:
                time.sleep(_EVERY)

    def _begun(self) -> Tracker:
        return TRACKERS[self._name](self._watched, self._told.key, before=self._told.rows + self._told.tables)

    def _tell_new(self, tracker: Tracker) -> None:
        new = [(number, row) for number, row in self._rows.new() if number >= self._told.rows]
        if new:
            self._now(rows=new[-1][0] + 1)
        for number, row in new:
            self._try(lambda number=number, row=row: tracker.row(number, row), "take a row")  # type: ignore[misc]
        for step, rows in self._rollouts():
            self._try(lambda step=step, rows=rows: tracker.rollouts(step, rows), "take rollouts")  # type: ignore[misc]

    def _rollouts(self) -> Iterator[tuple[int, Sequence[Sequence[object]]]]:
        for file in sorted(self._folder.glob("step-*.json")):
            kept = durable.read_json(file)
            file.unlink()
            if kept["step"] > self._told.last_table:
                self._now(tables=self._told.tables + 1, last_table=kept["step"])
                yield kept["step"], kept["rows"]

    def _tell_final(self, tracker: Tracker) -> None:
        if self._final.exists() and not self._told.final:
            self._now(final=True)
            self._try(lambda: tracker.final(durable.read_json(self._final)), "take the final metrics")

    def _now(self, **changed: int) -> None:
        """Write down that so much is told. It is done before it is told: what is lost with this process is in
        metrics.jsonl, and nothing is in the tracker twice."""
        self._told = Told(**{**asdict(self._told), **changed})
        self._told.write(self._file)

    def _try(self, tell: Callable[[], None], what: str) -> None:
        try:
            tell()
        except Exception as error:  # a library's, of which nobody can say what it raises, or a network's
            self._lost += 1
            if self._lost == 1:
                print(without_secrets(traceback.format_exc()), file=sys.stderr)
                self._note(f"could not {what} ({type(error).__name__}: {error}); the stage goes on")

    def _note(self, text: str) -> None:
        text = without_secrets(" ".join(f"{self._name} {text}".split()))
        durable.append_row(self._watched.events, {"event": "note", "text": text[:500]})


def without_secrets(text: str) -> str:
    """The text without the values of environment variables that hold keys, tokens and passwords."""
    for name, value in os.environ.items():
        if _SECRET.search(name.upper()) and len(value) >= 6:
            text = text.replace(value, f"[{name}]")
    return text


def main(arguments: list[str]) -> int:
    """Tell the tracker, and return the exit code: 0 also where it took nothing, which a note has said."""
    folder, name = Path(arguments[0]), arguments[1]
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        signal.alarm(PATIENCE)  # which ends this process, whatever a library is waiting for
        ended.set()

    threading.Thread(target=wait_for_the_end, name="end", daemon=True).start()
    Teller(folder, name, ended).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
