"""Stages that tell the most memory that their process ever had, for recipes of tests, which name this file."""

from pathlib import Path
from typing import ClassVar

from pipeline.stage import Context, Metrics
from pipeline.stages.grpo import Grpo
from pipeline.stages.pretrain import Pretrain
from pipeline.stages.sample import Sample
from pipeline.stages.sft import Sft
from rewards.types import Completion, Problem


def most() -> int:
    """Bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


class MeasuredSft(Sft):
    kind: ClassVar[str] = "measured_sft"

    def run(self, ctx: Context) -> Metrics:
        return {**super().run(ctx), "most_memory": most()}


class MeasuredGrpo(Grpo):
    kind: ClassVar[str] = "measured_grpo"

    def run(self, ctx: Context) -> Metrics:
        return {**super().run(ctx), "most_memory": most()}


class MeasuredPretrain(Pretrain):
    kind: ClassVar[str] = "measured_pretrain"

    def run(self, ctx: Context) -> Metrics:
        return {**super().run(ctx), "most_memory": most()}


class MeasuredSample(Sample):
    kind: ClassVar[str] = "measured_sample"

    def run(self, ctx: Context) -> Metrics:
        return {**super().run(ctx), "most_memory": most()}


def uneven(_problem: Problem, completion: Completion) -> float:
    """A reward by which every group has a gradient, whatever a model writes."""
    return len(completion.text) % 7 / 7
