"""Stages that take milliseconds, for tests of everything around stages. Recipes name them by this file's path."""

import json
import os
import random
import signal
import subprocess
import time
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict

from pipeline.stage import (
    ArtifactType,
    Context,
    DatasetInput,
    Metrics,
    ModelInput,
    NotInFingerprint,
    PlugIn,
    Stage,
    StageError,
    Stopped,
)
from rewards.rubric import Rubric


class Phase(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int
    steps: int = 1


class Make(Stage):
    """Makes a model of one random number."""

    kind: ClassVar[str] = "make"
    makes: ClassVar[ArtifactType] = "model"
    preload: ClassVar[tuple[str, ...]] = ()

    steps: int = 2
    wait: float = 0.0
    rate: float = 1e-3
    end: str = "well"
    phases: list[Phase] = []
    log_every: Annotated[int, NotInFingerprint()] = 1
    at_once: Annotated[int | None, NotInFingerprint(of_checkpoints=True)] = None

    def run(self, ctx: Context) -> Metrics:
        began = time.time()
        for i in range(self.steps):
            time.sleep(self.wait)
            ctx.progress(i + 1, self.steps, reward=i / self.steps)
            ctx.log({"step": i})
        match self.end:
            case "stage error":
                raise StageError("nothing to amplify\nat all")
            case "crash":
                raise KeyError("boom")
            case "in the second process":
                if os.environ["RANK"] == "1":
                    raise StageError("no room here")
                time.sleep(60)
            case "kill in the second process":
                if os.environ["RANK"] == "1":
                    os.kill(os.getpid(), 9)
                time.sleep(60)
            case "no memory":
                raise MemoryError("no room for 9 GiB")
            case "kill":
                os.kill(os.getpid(), 9)
            case "child":
                child = subprocess.Popen(["sleep", "60"])
                (ctx.out / "child").write_text(str(child.pid))
            case "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                ctx.note("ignores SIGTERM")
                time.sleep(60)
            case "orderly":
                with ctx.checkpoints.until_stopped():
                    ctx.note("waits to be stopped")
                    while not ctx.checkpoints.stopping:
                        time.sleep(0.01)
                run = next(path for path in ctx.checkpoints.folder.parents if path.name == "artifacts").parent / "chain"
                (run / "ended in order").touch()
                raise Stopped("asked to")
            case "note":
                ctx.note("look here")
        (ctx.out / "number.txt").write_text(f"{random.random()}\n")
        return {"pid": os.getpid(), "group": os.getpgid(0), "began": began, "ended": time.time(),
                "omp": os.environ["OMP_NUM_THREADS"]}


class Spread(Make):
    """Makes the same in as many processes as there are."""

    kind: ClassVar[str] = "spread"
    distributed: ClassVar[bool] = True


class Write(Make):
    """Makes a dataset of what its models hold."""

    kind: ClassVar[str] = "write"
    makes: ClassVar[ArtifactType] = "dataset"

    model: ModelInput
    others: list[ModelInput] = []
    teacher: ModelInput | None = None

    def run(self, ctx: Context) -> Metrics:
        texts = [(ctx.path(name) / "number.txt").read_text() for name in [self.model, *self.others]]
        (ctx.out / "data.jsonl").write_text("".join(texts))
        return super().run(ctx)


class Score(Make):
    """Makes a report of two models, with a rollout of each."""

    kind: ClassVar[str] = "score"
    makes: ClassVar[ArtifactType] = "report"

    model: ModelInput

    def run(self, ctx: Context) -> Metrics:
        verdict = {"label": "correct", "answer": "1", "reason": "", "seconds": 0.0}
        row = {"problem": "p", "index": 0, "text": "1", "finished": True, "tokens": 1, "verdict": verdict}
        numbers = {"n": 1, "rollouts": 1, "pass@1": 1.0, "pass@1_ci95": [0.2, 1.0], "readable": 1.0,
                   "mean_length": 1.0, "truncated": 0.0, "ungradable": 0.0}
        models = {name: {"parameters": 1, "problems": {"sums": numbers}, "protocol": {"sums": {}}} for name in "mn"}
        (ctx.out / "report.json").write_text(json.dumps({"models": models}))
        for name in models:
            (ctx.out / f"{name}-sums.jsonl").write_text(json.dumps(row) + "\n")
        return super().run(ctx)


class Learn(Make):
    """Makes a model of a dataset, with a reward."""

    kind: ClassVar[str] = "learn"

    data: DatasetInput
    reward: Rubric = Rubric()
    problems: Annotated[str, PlugIn("problem set")] | None = None


class Heavy(Make):
    """Says how many threads torch has."""

    kind: ClassVar[str] = "heavy"
    preload: ClassVar[tuple[str, ...]] = ("torch",)

    def run(self, ctx: Context) -> Metrics:
        import torch

        (ctx.out / "number.txt").write_text(f"{torch.rand(1).item()}\n")
        return {"threads": torch.get_num_threads(), "gradients": len({self._gradient() for _ in range(4)})}

    @staticmethod
    def _gradient() -> bytes:
        """Of a few rows that are read by index very often: a sum that several threads could add up in any order."""
        import torch

        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(3, 64, generator=generator, requires_grad=True)
        read = torch.randint(0, 3, (50_000,), generator=generator)
        (rows[read] * torch.randn(50_000, 64, generator=generator)).sum().backward()
        assert rows.grad is not None
        return bytes(rows.grad.numpy().tobytes())


class Unfinished(Stage):
    """Has no run method."""

    kind: ClassVar[str] = "unfinished"
    makes: ClassVar[ArtifactType] = "model"


not_a_stage = 3
