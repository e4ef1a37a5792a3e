"""Weights & Biases, online or offline (`WANDB_MODE=offline`)."""

import os
from collections.abc import Sequence

from pipeline.disk.durable import JsonMapping
from pipeline.run.tracking.tracker import COLUMNS, Run, named
from rewards.lazy import lazy

with lazy:
    import wandb


class Wandb:
    """A stage as a run of wandb. Of the load of the machine, the program and its output nothing is told."""

    def __init__(self, run: Run) -> None:
        self._number = 0
        self._stepped = False
        self._run = wandb.init(
            project=run.project, group=run.group, name=run.name, job_type=run.kind[-64:], id=run.key, resume="allow",
            dir=os.environ.get("WANDB_DIR", str(run.folder)), config=dict(run.facts), save_code=False,
            settings=wandb.Settings(console="off", disable_git=True, x_disable_meta=True, x_disable_stats=True,
                                    x_disable_machine_info=True, x_save_requirements=False),
        )

    def row(self, number: int, row: JsonMapping) -> None:
        self._number = number
        if "step" in row and not self._stepped:
            self._stepped = True
            self._run.define_metric("*", step_metric="step")
        # Several rows may be of one step of the stage; wandb's own steps are rows, which only grow.
        self._run.log(dict(row), step=number)

    def rollouts(self, step: int, rows: Sequence[Sequence[object]]) -> None:
        table = wandb.Table(columns=list(COLUMNS), data=[list(row) for row in rows], allow_mixed_types=True)
        self._run.log({"rollouts": table}, step=self._number)

    def final(self, metrics: JsonMapping) -> None:
        self._run.summary.update(named(metrics))

    def close(self) -> None:
        self._run.finish()
