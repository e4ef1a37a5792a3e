"""Whole stages in processes of their own: whether one that was stopped ends with the bytes of one that was not, and
what one takes of memory beside what `retort plan` says."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sizes import Sizes

from pipeline.bench.rollouts import build
from pipeline.bench.train import tokenizer
from pipeline.costs.assumptions import Assumptions
from pipeline.costs.estimate import estimates
from pipeline.costs.machine import this_machine
from pipeline.recipe import recipe, trust

RETORT = [sys.executable, "-P", "-m", "pipeline.commands.cli"]
RESUMED = """\
name: resumed
checkpoints: {every_steps: 5}
stages:
  base:
    {kind: pretrain, steps: STEPS, rounds: 0, length: 72, corpus: {behaviours: {correct: 1.0}},
     architecture: ARCHITECTURE}
  zero:
    {kind: grpo, model: base, problems: ["programs:train"], steps: 4, prompts_per_step: 8, group_size: 8, gate: 0}
"""
ARCHITECTURE = {
    "model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "max_position_embeddings": 192,
}
MEASURED = '''\
import torch
from typing import ClassVar
from pipeline.stage import Context, Metrics
from pipeline.stages.sft import Sft

class MeasuredSft(Sft):
    """SFT that tells the most memory it had."""
    kind: ClassVar[str] = "measured_sft"

    def run(self, ctx: Context) -> Metrics:
        return {**super().run(ctx), "most_memory": torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0}
'''
CONTEXT = 2**30
"""What plans take for CUDA's context, which torch does not count."""


def resumed(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Whether the models of a run that was stopped in each of two stages are those of one that was left alone."""
    steps = 60 if sizes.device == "cpu" else 200
    text = RESUMED.replace("STEPS", str(steps)).replace("ARCHITECTURE", json.dumps(ARCHITECTURE))
    (folder / "resumed.yaml").write_text(text)
    began = time.monotonic()
    whole = _run(folder, "whole")
    took = time.monotonic() - began
    stopped = [stage for stage in ("base", "zero") if _stopped_in(folder, stage)]
    again = _run(folder, "again")
    return {"stopped": stopped, "same_bytes": {name: whole[name] == again[name] for name in whole}, "seconds": took}


def _run(folder: Path, name: str) -> dict[str, str]:
    """SHA-256 of each stage's weights."""
    command = [*RETORT, "run", "resumed.yaml", "--runs", name]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    files = (folder / name / "artifacts").glob("*/model/model.safetensors")
    return {file.parts[-3].rpartition("-")[0]: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _stopped_in(folder: Path, stage: str) -> bool:
    """Start the run, and stop it once the stage has left a checkpoint; False where it ended before."""
    with subprocess.Popen([*RETORT, "run", "resumed.yaml", "--runs", "again"], cwd=folder, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, start_new_session=True) as run:
        while run.poll() is None:
            if any((folder / "again").glob(f"artifacts/.partial/{stage}-*/checkpoints/step-*")):
                os.killpg(run.pid, signal.SIGTERM)
                return True
            time.sleep(0.01)
    return False


def memory(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """SFT of the dense model: bytes that the plan says, and that the device has held."""
    model = build(sizes.trained["dense"])
    model.save_pretrained(folder / "base")  # type: ignore[attr-defined]
    tokenizer(model).save_pretrained(folder / "base")
    words = " ".join(f"t{5 + number % 100}" for number in range(int(sizes.mean)))
    rows = [{"prompt": words, "completion": words} for _ in range(4 * sizes.rows)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "measured.py").write_text(MEASURED)
    file = folder / "memory.yaml"
    stage = f"kind: measured.py:MeasuredSft, model: base, data: rows.jsonl, batch_size: {sizes.rows}, epochs: 1"
    file.write_text(f"name: memory\nstages:\n  s: {{{stage}, dtype: bfloat16, optimizer: {{name: adamw}}}}\n")
    trust.remember([folder])
    [planned] = estimates(recipe.read(str(file)), this_machine(1), Assumptions(0.0, 0.4, 0.25, 0.3, CONTEXT))
    subprocess.run([*RETORT, "run", "memory.yaml"], cwd=folder, check=True, capture_output=True)
    [manifest] = (folder / "runs" / "artifacts").glob("s-*/stage.json")
    held = json.loads(manifest.read_text())["metrics"]["most_memory"]
    said = planned.largest.peak - CONTEXT if planned.largest else 0
    return {"planned_gib": said / 2**30, "held_gib": held / 2**30, "off": said / held - 1 if held else None}
