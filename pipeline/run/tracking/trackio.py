"""trackio: a local database of runs, or a server or Space that its own environment variables name."""

from collections.abc import Sequence

from pipeline.disk.durable import JsonMapping
from pipeline.run.tracking.tracker import COLUMNS, Watched, named
from rewards.lazy import lazy

with lazy:
    import trackio


class Trackio:
    """A stage as a run of trackio. What it finds out about the machine by itself is switched off."""

    def __init__(self, watched: Watched, key: str, *, before: int) -> None:
        self._step = 0
        self._run = trackio.init(
            project=watched.project, name=watched.name, group=watched.group, config=watched.facts,
            # It knows runs by their names, and the same stage may have been made before in another run of this name.
            resume="allow" if before else "never", embed=False, auto_log_gpu=False, auto_log_cpu=False,
        )

    def row(self, number: int, row: JsonMapping) -> None:
        step = row.get("step")
        self._step = step if isinstance(step, int) else number
        # Its own step, which it would otherwise rename.
        self._run.log({key: value for key, value in row.items() if key != "step"}, step=self._step)

    def rollouts(self, step: int, rows: Sequence[Sequence[object]]) -> None:
        table = trackio.Table(columns=list(COLUMNS), data=[list(row) for row in rows])
        self._run.log({"rollouts": table}, step=step)

    def final(self, metrics: JsonMapping) -> None:
        self._run.log(named(metrics), step=self._step)

    def close(self) -> None:
        self._run.finish()  # type: ignore[no-untyped-call]
