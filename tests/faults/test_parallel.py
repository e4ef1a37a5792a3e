"""Two processes, by each way of sharing a model: killed once in every stage they end in the bytes of a run that was
left alone, and what they saved is a model that transformers loads."""

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.faults.conftest import Killed
from tests.launchers import CONFIGS, NEEDS

pytestmark = pytest.mark.parallel

STAGES = ("base", "long", "zero", "traces", "tuned", "adapted", "score")
SHARDED = ("base", "zero", "tuned", "adapted")
"""Where it matters how the model is shared: `extend` trains as `pretrain` does, and rollouts are shared, not models."""


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=NEEDS[kind]) for kind in CONFIGS])
def test_killed_in_every_stage(parallel: Callable[..., Killed], kind: str) -> None:
    stages = STAGES if kind == "ddp" else SHARDED
    one, undisturbed = parallel("killed", kind, stages), parallel("undisturbed", kind, stages)
    for stage in stages:
        assert one.killed_when(lambda stage=stage: begun(one, stage)), f"{stage} was not caught: {one.printed}"
    assert one.to_the_end() == undisturbed.to_the_end()
    for stage in stages:
        for folder in (one.folder / "runs" / "artifacts").glob(f"{stage}-*/model"):
            saved, loaded = load_file(folder / "model.safetensors"), AutoModelForCausalLM.from_pretrained(folder)
            assert all(torch.isfinite(value).all() for value in saved.values())
            assert loaded.num_parameters() > 10_000


def begun(run: Killed, stage: str) -> bool:
    """Whether a stage has made a few steps, or a piece of its rollouts."""
    pieces = (run.folder / "runs" / "artifacts" / ".partial").glob(f"{stage}-*/checkpoints/rollouts/*.jsonl")
    return run.steps(stage) >= 3 or any(pieces)
