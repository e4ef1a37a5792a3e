"""Weights & Biases, online or offline (`WANDB_MODE=offline`)."""

import os
from collections.abc import Sequence

from pipeline.disk.durable import JsonMapping
from pipeline.run.tracking.tracker import COLUMNS, Watched, named
from rewards.lazy import lazy

with lazy:
    import wandb


class Wandb:
    """A stage as a run of wandb. Of the load of the machine, the program and its output nothing is told."""

    def __init__(self, watched: Watched, key: str, *, before: int) -> None:
        # Its own steps count what it is told, since several rows may be of one step of the stage.
        self._next = before
        self._stepped = False
        self._run = wandb.init(
            project=watched.project, group=watched.group, name=watched.name, job_type=watched.kind[-64:],
            id=key, resume="allow", dir=os.environ.get("WANDB_DIR", str(watched.run)), config=dict(watched.facts),
            save_code=False,
            settings=wandb.Settings(console="off", disable_git=True, x_disable_meta=True, x_disable_stats=True,
                                    x_disable_machine_info=True, x_save_requirements=False),
        )

    def row(self, number: int, row: JsonMapping) -> None:
        if "step" in row and not self._stepped:
            self._stepped = True
            self._run.define_metric("*", step_metric="step")
        self._log(dict(row))

    def rollouts(self, step: int, rows: Sequence[Sequence[object]]) -> None:
        table = wandb.Table(columns=list(COLUMNS), data=[list(row) for row in rows], allow_mixed_types=True)
        self._log({"rollouts": table, "step": step})

    def _log(self, row: dict[str, object]) -> None:
        self._run.log(row, step=self._next)
        self._next += 1

    def final(self, metrics: JsonMapping) -> None:
        self._run.summary.update(named(metrics))

    def close(self) -> None:
        self._run.finish()
