"""TensorBoard: event files under RUNS/RUN/tensorboard/STAGE, written by tensorboard's own writer, without torch."""

import time
from collections.abc import Iterator, Mapping, Sequence

from pipeline.disk.durable import JsonMapping
from pipeline.run.tracking.tracker import COLUMNS, Watched, named
from rewards.lazy import lazy

with lazy:
    import numpy
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter


class TensorBoard:
    """A stage as a folder of event files, one for each attempt. Lists are left out: it has no picture of them."""

    def __init__(self, watched: Watched, key: str, *, before: int) -> None:
        self._step = 0
        self._writer = EventFileWriter(str(watched.run / "tensorboard" / watched.stage))
        if not before:
            # What lies here of a stage that was made before by another recipe is not shown with this one.
            self._write(Event(session_log=SessionLog(status=SessionLog.START), step=0))

    def row(self, number: int, row: JsonMapping) -> None:
        step = row.get("step")
        self._step = step if isinstance(step, int) else number
        for name, value in _flat(row):
            if name != "step":
                self._value(name, value)
        self._writer.flush()

    def rollouts(self, step: int, rows: Sequence[Sequence[object]]) -> None:
        # It reads cells as Markdown, in which what is indented stands as it is; what models write is data.
        cells = [list(COLUMNS), *([_indented(str(cell)) for cell in row] for row in rows)]
        self._summary(text_pb("rollouts", numpy.array(cells, dtype=object)), step)
        self._writer.flush()

    def final(self, metrics: JsonMapping) -> None:
        for name, value in _flat(named(metrics)):
            self._value(name, value)

    def close(self) -> None:
        self._writer.close()

    def _value(self, name: str, value: str | float) -> None:
        made = text_pb(name, _indented(value)) if isinstance(value, str) else scalar_pb(name, value)
        self._summary(made, self._step)

    def _summary(self, summary: "Summary", step: int) -> None:
        self._write(Event(summary=summary, step=step))

    def _write(self, event: "Event") -> None:
        event.wall_time = time.time()
        self._writer.add_event(event)


def _flat(row: Mapping[str, object]) -> Iterator[tuple[str, str | float]]:
    """Texts and numbers of a row; what is inside of something is called `outer.inner`."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat({f"{name}.{key}": inner for key, inner in value.items()})
        elif isinstance(value, str | int | float):
            yield name, value


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])
