"""What `--verbose` adds to a display: the lines that stages and their libraries write into their logs."""

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.run.display.progress import Display


class VerboseDisplay(Display):
    """Another display, which is told each line of the running stages' logs besides."""

    def __init__(self, inner: Display, logs: Path) -> None:
        self._inner, self._logs = inner, logs
        self._read: dict[str, int] = {}

    def started(self, stage: str, kind: str) -> None:
        file = self._file(stage)
        # What earlier attempts have written is not of this one.
        self._read[stage] = file.stat().st_size if file.exists() else 0
        self._inner.started(stage, kind)

    def at_work(self, stage: str) -> None:
        self._inner.at_work(stage)

    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, object]) -> None:
        self._inner.progress(stage, done, total, figures)

    def note(self, stage: str, text: str) -> None:
        self._inner.note(stage, text)

    def log(self, stage: str, text: str) -> None:
        self._inner.log(stage, text)

    def finished(self, stage: str, seconds: float, metrics: Mapping[str, object]) -> None:
        self._tell(stage, last=True)
        self._inner.finished(stage, seconds, metrics)

    def reused(self, stage: str, artifact: str) -> None:
        self._inner.reused(stage, artifact)

    def failed(self, stage: str, message: str) -> None:
        self._tell(stage, last=True)
        self._inner.failed(stage, message)

    def say(self, text: str) -> None:
        self._inner.say(text)

    def refresh(self) -> None:
        for stage in list(self._read):
            self._tell(stage)
        self._inner.refresh()

    def close(self) -> None:
        for stage in list(self._read):
            self._tell(stage, last=True)
        self._inner.close()

    def ended(self, code: int) -> None:
        self._inner.ended(code)

    def _file(self, stage: str) -> Path:
        return self._logs / f"{stage}.log"

    def _tell(self, stage: str, *, last: bool = False) -> None:
        """Tell the whole lines that were written since the last time; the `last` time also a line without an end."""
        at = self._read.pop(stage, None) if last else self._read.get(stage)
        if at is None or not self._file(stage).exists():
            return
        with self._file(stage).open("rb") as stream:
            stream.seek(at, os.SEEK_SET)
            found = stream.read()
        whole = found if last else found[: found.rfind(b"\n") + 1]
        if not last:
            self._read[stage] = at + len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if line.strip():
                self._inner.log(stage, line)
