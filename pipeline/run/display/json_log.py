"""The display that programs read: one JSON object a line on standard output."""

import json
import time
from collections.abc import Mapping

from pipeline.run.display.progress import Display

_EVERY = 1.0  # seconds between two progress events of one stage


class JsonDisplay(Display):
    """One object for each thing that happens. Each has `time` (seconds since 1970) and `event`, and by the event

    started     stage, kind
    progress    stage, done, total, figures: once a second at most, and where everything is done
    note        text; stage, where it is of one
    log         stage, text: a line of its log, with --verbose
    finished    stage, seconds, metrics
    reused      stage, artifact
    failed      stage, message
    ended       code: the exit code of the command, at the end of a run
    """

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def started(self, stage: str, kind: str) -> None:
        self._tell("started", stage=stage, kind=kind)

    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, object]) -> None:
        now = time.monotonic()
        if done < total and now - self._told.get(stage, now - _EVERY) < _EVERY:
            return
        self._told[stage] = now
        self._tell("progress", stage=stage, done=done, total=total, figures=figures)

    def note(self, stage: str, text: str) -> None:
        self._tell("note", stage=stage, text=text)

    def log(self, stage: str, text: str) -> None:
        self._tell("log", stage=stage, text=text)

    def finished(self, stage: str, seconds: float, metrics: Mapping[str, object]) -> None:
        self._tell("finished", stage=stage, seconds=seconds, metrics=metrics)

    def reused(self, stage: str, artifact: str) -> None:
        self._tell("reused", stage=stage, artifact=artifact)

    def failed(self, stage: str, message: str) -> None:
        self._tell("failed", stage=stage, message=message)

    def say(self, text: str) -> None:
        self._tell("note", text=text)

    def ended(self, code: int) -> None:
        self._tell("ended", code=code)

    def _tell(self, event: str, **more: object) -> None:
        print(json.dumps({"time": round(time.time(), 3), "event": event, **more}, ensure_ascii=False), flush=True)
