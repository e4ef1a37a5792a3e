"""Two processes, by each way of sharing a model: killed once in every stage they end in the bytes of a run that was
left alone, and what they saved is a model that transformers loads."""

import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.faults.conftest import Killed
from tests.launchers import CONFIGS, NEEDS

pytestmark = pytest.mark.parallel

RECIPE = (Path(__file__).parent / "parallel.yaml").read_text()
STAGES = ("base", "long", "zero", "traces", "tuned", "adapted", "score")
SHARDED = ("base", "zero", "tuned", "adapted")
"""Where it matters how the model is shared: `extend` trains as `pretrain` does, and rollouts are shared, not models."""


@pytest.fixture
def run(killed: Callable[[str, str], Killed]) -> Callable[[str, str, Sequence[str]], Killed]:
    """run("name", kind, stages) -> a run of these stages of parallel.yaml on two processes."""

    def make(name: str, kind: str, stages: Sequence[str]) -> Killed:
        head, *written = re.split(r"\n  (?=\w+:\n)", RECIPE)
        made = killed(name, "\n  ".join([head, *(one for one in written if one.split(":")[0] in stages)]))
        (made.folder / "config.yaml").write_text(CONFIGS[kind])
        # Of a model that knows nothing, too, rewards differ within a group.
        rule = "def luck(_problem, completion):\n    return sum(map(ord, completion.text)) % 17 / 17\n"
        (made.folder / "luck.py").write_text(rule)
        draw = random.Random(0)
        with (made.folder / "rows.jsonl").open("w") as file:
            for _ in range(64):  # a few rows are ten times as long as the others
                words = draw.choices(["Tom", "has", "3", "apples"], k=draw.choice([4, 5, 6, 60]))
                file.write(json.dumps({"prompt": "Say.", "completion": " ".join(words)}) + "\n")
        return made

    return make


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=NEEDS[kind]) for kind in CONFIGS])
def test_killed_in_every_stage(run: Callable[[str, str, Sequence[str]], Killed], kind: str) -> None:
    stages = STAGES if kind == "ddp" else SHARDED
    one, undisturbed = run("killed", kind, stages), run("undisturbed", kind, stages)
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
