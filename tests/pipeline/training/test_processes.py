"""Two gloo processes make the steps of one: the same rollouts, sums over all rows divided by counts over all rows."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

TWO = """compute_environment: LOCAL_MACHINE
distributed_type: MULTI_CPU
use_cpu: true
num_processes: 2
num_machines: 1
mixed_precision: 'no'
"""
BASE = """name: base
stages:
  base:
    kind: pretrain
    steps: 12
    rounds: 0
    batch_size: 8
    corpus: {facts: 0.0, lists: 0.0, needles: 0.0, words: 0.0, behaviours: {correct: 1.0}}
    architecture:
      model_type: qwen3_moe
      hidden_size: 32
      num_hidden_layers: 2
      intermediate_size: 32
      moe_intermediate_size: 16
      num_experts: 4
      num_experts_per_tok: 2
      num_attention_heads: 4
      num_key_value_heads: 2
      head_dim: 8
      mlp_only_layers: []
      decoder_sparse_step: 1
      initializer_range: 0.2
      rope_parameters: {rope_type: default, rope_theta: 50.0}
"""
TRAINED = """name: NAME
seed: 3
HEAD
stages:
  tuned:
    kind: sft
    model: &base BASE
    data: rows.jsonl
    epochs: 1
    batch_size: 8
    micro_batch_tokens: 256
    balance: {load: 0.0}
    # Its steps are as long as the gradients: a factor that they are wrong by is seen, where Adam would hide it.
    optimizer: &sgd {name: sgd}
    learning_rate: 0.3
    max_grad_norm: 1.0e+3
    too_long: cut
  zero:
    kind: grpo
    model: *base
    problems: [programs:train]
    problems_each: 8
    reward: {correct: 1.0, rules: {../short.py:shorter: 1.0}}
    balance: {load: 0.0}
    steps: 3
    prompts_per_step: 4
    group_size: 4
    updates_per_step: 2
    max_completion_tokens: 24
    micro_batch_tokens: 128
    optimizer: *sgd
    learning_rate: 0.3
    max_grad_norm: 1.0e+3
    gate: 0
  traces:
    kind: sample
    model: *base
    problems: [programs:train]
    problems_each: 64
    rollouts: 8
    format: false
    readable: false
    max_completion_tokens: 24
  score:
    kind: evaluate
    models: [*base]
    problems: [programs:test, word_problems:test]
    problems_each: 64
    rollouts: 8
    max_completion_tokens: 24
"""


def retort_run(recipe: str, folder: Path) -> None:
    (folder / "recipe.yaml").write_text(recipe)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipeline.commands.cli", "run", "recipe.yaml"], cwd=folder, capture_output=True,
        text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def weights(folder: Path, stage: str) -> dict[str, torch.Tensor]:
    [file] = (folder / "runs" / "artifacts").glob(f"{stage}-*/model/model.safetensors")
    return load_file(file)


def metrics(folder: Path, stage: str) -> list[dict[str, float]]:
    [file] = (folder / "runs" / "artifacts").glob(f"{stage}-*/metrics.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [{name: value for name, value in row.items() if isinstance(value, int | float)} for row in rows]


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return sum(float((value - other[name]).double().square().sum()) for name, value in one.items()) ** 0.5


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base, and with what one and two processes have made of it."""
    folder = tmp_path_factory.mktemp("processes")
    draw = random.Random(0)
    with (folder / "rows.jsonl").open("w") as file:
        for _ in range(240):  # a few rows are ten times as long as the others
            words = draw.choices(["Tom", "has", "3", "apples", "and", "buys", "4"], k=draw.choice([4, 5, 6, 60]))
            file.write(json.dumps({"prompt": "Say.", "completion": " ".join(words)}) + "\n")
    (folder / "cpu.yaml").write_text(TWO)
    (folder / "short.py").write_text("def shorter(_problem, completion):\n    return -completion.tokens / 24\n")
    retort_run(BASE, folder)
    [base] = (folder / "runs" / "artifacts").glob("base-*/model")
    for name, head in (("one", ""), ("two", "accelerate: ../cpu.yaml")):
        (folder / name).mkdir()
        (folder / name / "rows.jsonl").symlink_to(folder / "rows.jsonl")
        retort_run(TRAINED.replace("NAME", name).replace("HEAD", head).replace("BASE", str(base)), folder / name)
    return folder


@pytest.mark.parametrize("stage", ["traces", "score"])
def test_two_processes_draw_the_bytes_of_one(trained: Path, stage: str) -> None:
    made = []
    for name in ("one", "two"):
        [folder] = (trained / name / "runs" / "artifacts").glob(f"{stage}-*")
        made.append({file.name: file.read_bytes() for file in folder.iterdir() if file.name != "stage.json"})
    assert made[0] == made[1]
    assert made[0].keys() >= ({"data.jsonl"} if stage == "traces" else {"report.json"})


@pytest.mark.parametrize("stage", ["tuned", "zero"])
def test_two_processes_go_the_way_of_one(trained: Path, stage: str) -> None:
    start, one, two = weights(trained, "base"), weights(trained / "one", stage), weights(trained / "two", stage)
    way = distance(one, start)
    assert way > 0.01
    assert distance(one, two) < 0.001 * way


@pytest.mark.parametrize("stage", ["tuned", "zero"])
def test_two_processes_tell_what_one_tells(trained: Path, stage: str) -> None:
    one, two = metrics(trained / "one", stage), metrics(trained / "two", stage)
    assert len(one) == len(two) > 2
    for ours, theirs in zip(one, two, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            if name.startswith("replay/kl"):
                continue  # measured on one row in 32 of each process
            # The watch's figures are of tokens that a last bit may route elsewhere.
            close = 0.02 if name.startswith("moe/") else 1e-3
            assert theirs[name] == pytest.approx(value, rel=close, abs=1e-4), name
