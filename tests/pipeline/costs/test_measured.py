"""What a plan says of memory, against the largest resident set of the process of the stage, under the real runner."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from eval.problems import load
from pipeline.costs.assumptions import Assumptions
from pipeline.costs.devices import Device
from pipeline.costs.estimate import estimates
from pipeline.costs.machine import libraries
from pipeline.models import pretrained
from pipeline.models.build import build
from pipeline.models.tokenizer import train_tokenizer
from pipeline.recipe import recipe, trust

pytestmark = pytest.mark.faults

WITHIN = 0.15
HERE = Path(__file__).parent
DENSE = {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 512}
MIXTURE = {**DENSE, "model_type": "qwen3_moe", "num_experts": 16, "num_experts_per_tok": 4}
TWENTY = {**DENSE, "hidden_size": 384, "num_hidden_layers": 8, "intermediate_size": 1152, "num_attention_heads": 6,
          "vocab_size": 8192}
MIXED = {**MIXTURE, "hidden_size": 256, "num_hidden_layers": 6, "intermediate_size": 512, "moe_intermediate_size": 256,
         "num_attention_heads": 4, "vocab_size": 8192}
SMALL = {**DENSE, "hidden_size": 256, "num_hidden_layers": 6, "intermediate_size": 768, "num_attention_heads": 4,
         "vocab_size": 8192}
HUNDRED = {**DENSE, "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 2304, "num_attention_heads": 12,
           "num_key_value_heads": 4, "vocab_size": 8192}
WIDE = {**SMALL, "vocab_size": 65536}

SFT = "{kind: measured.py:MeasuredSft, model: base/model, data: rows.jsonl, limit: 96, epochs: 1, batch_size: 32"
ASKED = "model: base/model, problems: [word_problems:train], max_completion_tokens: 96"
GRPO = f"{{kind: measured.py:MeasuredGrpo, {ASKED}, reward: {{rules: {{measured.py:uneven: 1.0}}}}, gate: 0, steps: 2"
ADAMW = "optimizer: {name: adamw}"

SHAPES = {
    # Those that the rules were written by.
    "sft of a dense model": (TWENTY, f"{SFT}, {ADAMW}}}"),
    "sft of a mixture": (MIXED, f"{SFT}, {ADAMW}}}"),
    "sft in bfloat16 with checkpointing": (
        HUNDRED, f"{SFT.replace('limit: 96', 'limit: 24').replace('32', '8')}, {ADAMW}, dtype: bfloat16, "
                 "gradient_checkpointing: true}"),
    "grpo, 512 rollouts at once": (SMALL, f"{GRPO}, prompts_per_step: 16, group_size: 32, updates_per_step: 2}}"),
    # Those that they had not seen.
    "sft by muon": (MIXED, f"{SFT}}}"),
    "sft of adapters": (TWENTY, f"{SFT}, {ADAMW}, lora: {{rank: 16}}}}"),
    "sft of a large vocabulary": (WIDE, f"{SFT}, {ADAMW}}}"),
    "sft in parts": (TWENTY, f"{SFT}, {ADAMW}, micro_batch_tokens: 2000}}"),
    "grpo in small parts": (
        SMALL, f"{GRPO}, prompts_per_step: 16, group_size: 32, updates_per_step: 8, micro_batch_tokens: 1000}}"),
    "sample of a mixture": (
        MIXED, f"{{kind: measured.py:MeasuredSample, {ASKED}, problems_each: 64, rollouts: 8}}"),
}


def _write(folder: Path, shape: dict[str, object], stage: str) -> Path:
    """A recipe of this stage, with a random model and rows beside it."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(3000)]
    texts = [problem.prompt for problem in load("word_problems:train", 64)]
    tokenizer = train_tokenizer([" ".join(words), *texts], 512)
    pretrained.save(build(dict(shape), len(tokenizer), seed=0), tokenizer, folder / "base")
    rows = [{"prompt": " ".join(rng.choices(words, k=40)), "completion": " ".join(rng.choices(words, k=200))}
            for _ in range(96)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "measured.py").write_bytes((HERE / "measured.py").read_bytes())
    file = folder / "recipe.yaml"
    file.write_text(f"name: measured\nstages:\n  s: {stage}\n")
    trust.remember([folder])
    return file


@pytest.mark.parametrize("name", SHAPES)
def test_peak_memory_is_what_was_planned(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _write(tmp_path, *SHAPES[name])
    read = recipe.read(str(file))
    besides = libraries(read.steps["s"].config.preload)
    device = Device("this", 2**40, 1e11, 1e11, 1e10, 0.0, 2)
    [planned] = estimates(read, device, Assumptions(0.0, 0.5, 0.35, 0.3, besides))
    assert planned.largest is not None, planned.said

    command = [sys.executable, "-P", "-m", "pipeline.commands.cli", "run", str(file)]
    subprocess.run(command, cwd=tmp_path, env=os.environ, check=True, capture_output=True)
    [manifest] = (tmp_path / "runs" / "artifacts").glob("s-*/stage.json")
    measured = json.loads(manifest.read_text())["metrics"]["most_memory"]
    off = planned.largest.peak / measured - 1
    with capsys.disabled():
        both = f"planned {planned.largest.peak / 2**20:,.0f} MiB, measured {measured / 2**20:,.0f}"
        print(f"\n{name}: {both}, {off:+.1%}")
    assert abs(off) < WITHIN
