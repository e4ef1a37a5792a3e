"""What a tracker is: something that is told the rows of a stage's metrics.jsonl, tables of rollouts, and its end."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping

COLUMNS = ("step", "problem", "prompt", "text", "verdict", "reward", "advantage")
"""The columns of a table of rollouts: keys of a kept rollout."""


class Tracker(Protocol):
    """A stage's run in a tracker. Its methods may raise whatever the tracker's library raises.

    It is made with a Watched, a key that is the same for all attempts at the stage and no other stage's, and how many
    rows and tables it was told by earlier attempts.
    """

    def row(self, number: int, row: JsonMapping) -> None:
        """Take a row of metrics.jsonl, the one of this number; numbers only grow."""
        ...

    def rollouts(self, step: int, rows: Sequence[Sequence[object]]) -> None:
        """Take a table with the columns of COLUMNS."""
        ...

    def final(self, metrics: JsonMapping) -> None:
        """Take what the stage returned. Its names begin with "final/", since rows may have the same ones."""
        ...

    def close(self) -> None:
        """Let nothing that was taken be lost. The stage may go on later, in another process."""
        ...


@dataclass(frozen=True)
class Watched:
    """A stage of which trackers are told: what they call it by, its run's folder, and the files that it writes."""

    project: str
    group: str
    stage: str
    kind: str
    fingerprint: str
    run: Path
    metrics: Path
    events: Path

    @property
    def name(self) -> str:
        """Unique in a project: several runs of a recipe have stages of the same names."""
        return f"{self.group}:{self.stage}"

    @property
    def facts(self) -> dict[str, str]:
        """What is told of the stage besides its rows. Fields of recipes may hold addresses and passwords, and are no
        part of it."""
        return {"stage": self.stage, "kind": self.kind, "fingerprint": self.fingerprint}

    def write(self, file: Path) -> None:
        """Write this into a file, whole."""
        durable.write_json(file, {name: str(value) for name, value in asdict(self).items()})

    @classmethod
    def read(cls, file: Path) -> "Watched":
        """What `write` wrote."""
        told = durable.read_json(file)
        return cls(**{**told, **{name: Path(told[name]) for name in ("run", "metrics", "events")}})


@dataclass(frozen=True)
class Told:
    """What a tracker was told of a stage in all attempts: how many rows of metrics.jsonl, how many tables of rollouts,
    which is the last step that had one, and whether the end was told.

    A stage that goes on from a checkpoint logs the rows after it once more. They are the same rows, so their count is
    enough to tell each once.
    """

    key: str
    rows: int = 0
    tables: int = 0
    last_table: int = -1
    final: bool = False

    @classmethod
    def read(cls, file: Path) -> "Told | None":
        """What `write` wrote; None where nothing was told yet."""
        return cls(**durable.read_json(file)) if file.exists() else None

    def write(self, file: Path) -> None:
        """Write this into a file, whole."""
        durable.write_json(file, asdict(self))


def named(metrics: JsonMapping) -> dict[str, object]:
    """Metrics of a stage's end under the names that trackers show them by."""
    return {f"final/{key}": value for key, value in metrics.items()}
