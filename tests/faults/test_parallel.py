"""Two processes, by each way of sharing a model: killed once in every stage they end in the bytes of a run that was
left alone, and what they saved is a model that transformers loads."""

from collections.abc import Callable

import pytest
from transformers import AutoModelForCausalLM

from tests.faults.conftest import PARALLEL, Killed
from tests.launchers import CONFIGS, NEEDS

pytestmark = pytest.mark.parallel

SHARDED = ("base", "long", "zero", "tuned", "adapted", "taught", "across", "own", "beside")
"""Where it matters how the model is shared; `sample` and `evaluate` share rollouts."""

WHOLE = (*SHARDED, "ahead")
"""A module for multi-token prediction learns with a model that every process has in one piece."""

STAGES = {"ddp": (*WHOLE, "traces", "score"), "zero2": WHOLE}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=NEEDS[kind]) for kind in CONFIGS])
def test_killed_in_every_stage(parallel: Callable[..., Killed], kind: str) -> None:
    # In the recipe's order: who waits for a later stage lets those before it end.
    stages = sorted(STAGES.get(kind, SHARDED), key=lambda stage: PARALLEL.index(f"\n  {stage}:\n"))
    one, undisturbed = parallel("killed", kind, stages), parallel("undisturbed", kind, stages)
    for stage in stages:
        assert one.killed_when(lambda stage=stage: begun(one, stage)), f"{stage} was not caught: {one.printed}"
    assert one.to_the_end() == undisturbed.to_the_end()
    for stage in stages:
        for folder in (one.folder / "runs" / "artifacts").glob(f"{stage}-*/model"):
            _, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
            assert not any(told.values()), told  # nothing missing, unexpected, or of another shape


def begun(run: Killed, stage: str) -> bool:
    """Whether a stage has made a few steps, or a piece of its rollouts."""
    pieces = (run.folder / "runs" / "artifacts" / ".partial").glob(f"{stage}-*/checkpoints/rollouts/*.jsonl")
    return run.steps(stage) >= 3 or any(pieces)


@pytest.mark.parametrize(("kind", "processes"), [
    ("ddp", 1), ("ddp", 4), ("fsdp2", 4), pytest.param("zero3", 4, marks=NEEDS["zero3"])
])
def test_going_on_with_other_processes(parallel: Callable[..., Killed], kind: str, processes: int) -> None:
    run = parallel("changed", kind, ("base", "zero", "tuned"))
    for stage in ("base", "zero", "tuned"):
        config = CONFIGS[kind]
        (run.folder / "config.yaml").write_text(config)
        # In `zero` inside a round, whose rollouts are dealt anew.
        assert run.killed_when(lambda stage=stage: run.steps(stage) >= 3), f"{stage} was not caught: {run.printed}"
        (run.folder / "config.yaml").write_text(config.replace("num_processes: 2", f"num_processes: {processes}"))
        assert run.start().wait() == 1
        assert f"processes 2, now {processes}" in run.printed
        if kind == "zero3":
            assert run.start("--inexact").wait() == 1
            assert "DeepSpeed's checkpoints go on with as many" in run.printed
            return
        if stage == "tuned":
            assert "tuned/model/model.safetensors" in run.to_the_end("--inexact")
        else:
            assert run.killed_when(lambda stage=stage: done(run, stage), "--inexact")
    assert run.printed.count("goes on inexactly") >= 3


def done(run: Killed, stage: str) -> bool:
    return any((run.folder / "runs" / "artifacts").glob(f"{stage}-*/stage.json"))
