"""vLLM itself, on CPUs and in its own environment: `make vllm`, about twenty minutes on two cores.

RETORT_VLLM is the interpreter of the environment. The recipe beside this file trains a Mixture of Experts and a dense
model with the native engine and with vLLM, and asks one of them both ways.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from eval.engine.types import Request
from eval.vllm.process import WORKER, Serving, started
from pipeline.models import lora
from pipeline.models.build import prepare
from pipeline.models.tokenizer import train_tokenizer
from pipeline.serving import weights
from pipeline.serving.section import Vllm
from pipeline.serving.served import Served, divergence_of

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif("RETORT_VLLM" not in os.environ, reason="needs RETORT_VLLM, the interpreter of an environment "
                                                               "with vLLM: make vllm"),
]
PYTHON = os.environ.get("RETORT_VLLM", "python")
TEXT = Path(__file__).with_name("vllm.yaml").read_text().replace("PYTHON", PYTHON)
TOKENIZER = train_tokenizer([str(number) for number in range(100)], 141)
FAULTY = """
import importlib.util
import torch
spec = importlib.util.spec_from_file_location("original", {original!r})
original = importlib.util.module_from_spec(spec)
spec.loader.exec_module(original)


class Weights(original.Weights):
    def retort_load(self, folder, token):
        super().retort_load(folder, token)
        layer = next(one for one in self.model_runner.get_model().modules() if hasattr(one, "w13_weight"))
        with torch.no_grad():
            for weight in (layer.w13_weight, layer.w2_weight):
                weight[[0, 1]] = weight[[1, 0]].clone()
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    recipe = tmp_path_factory.mktemp("recipe") / "vllm.yaml"
    recipe.write_text(TEXT)
    return [sys.executable, "-P", "-m", "pipeline.commands.cli", "run", str(recipe)]


def rows(runs: Path, stage: str) -> list[dict[str, float]]:
    [file] = (runs / "served").glob(f"*-{stage}/metrics.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def mean(found: Sequence[dict[str, float]], name: str) -> float:
    return sum(row[name] for row in found) / len(found)


@pytest.mark.parametrize(("native", "served"), [("native", "served"), ("dense_native", "dense_served")])
def test_grpo_learns_with_vllm_as_with_the_native_engine(run: Path, native: str, served: str) -> None:
    ours, theirs = rows(run, native), rows(run, served)
    assert len(theirs) == 40
    for found in (ours, theirs):
        assert mean(found[-10:], "accuracy") > mean(found[:10], "accuracy") + 0.02
    # 640 rollouts each: four standard errors of a difference
    assert mean(theirs[-10:], "accuracy") == pytest.approx(mean(ours[-10:], "accuracy"), abs=0.11)
    assert max(row["vllm/kl"] for row in theirs) < 1e-5
    assert mean(theirs, "vllm/importance") == pytest.approx(1.0, abs=1e-3)


def test_a_model_is_measured_alike(run: Path, artifact: Callable[[Path, str], Path]) -> None:
    low, high = zip(*(
        json.loads((artifact(run, stage) / "report.json").read_text())["models"]["served"]["problems"]["programs"]
        ["pass@1_ci95"] for stage in ("score", "score_served")
    ), strict=True)
    assert max(low) < min(high)
    assert len((artifact(run, "traces") / "data.jsonl").read_text().splitlines()) > 20


def test_a_fault_in_the_sync_stops_the_run(
    run: Path, artifact: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    (tmp_path / "retort_vllm_worker.py").write_text(
        FAULTY.format(original=str(WORKER / "retort_vllm_worker.py"))
    )
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {PYTHON} "$@"\n')
    program.chmod(0o755)
    served = TEXT[TEXT.index("  served:") : TEXT.index("  dense:")].replace(PYTHON, str(program))
    served = served.replace("model: base", f"model: {artifact(run, 'base')}")
    (tmp_path / "recipe.yaml").write_text(f"name: faulty\nstages:\n{served}")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipeline.commands.cli", "run", "recipe.yaml"], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )
    assert done.returncode == 1
    assert "vLLM does not draw from the policy" in done.stdout
    assert "Traceback" not in done.stdout


def random_model(seed: int) -> Any:
    """A Mixture of Experts of a shape that vLLM has kernels for, whose head is its embeddings."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        "qwen3_moe", vocab_size=len(TOKENIZER), hidden_size=64, num_hidden_layers=2, intermediate_size=128,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, num_experts=8, num_experts_per_tok=2,
        moe_intermediate_size=32, norm_topk_prob=True, max_position_embeddings=256, initializer_range=0.1,
        tie_word_embeddings=True, bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )
    return prepare(AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def test_vllms_own_reload_still_leaves_packed_weights_behind(tmp_path: Path) -> None:
    """Where this fails, `eval/vllm/worker` has nothing to mend any more."""
    prompts = [Request([2, 20 + place, 30], [place]) for place in range(4)]
    model = random_model(1)
    weights.write(random_model(0), TOKENIZER, tmp_path / "first")
    weights.write(model, TOKENIZER, tmp_path / "second")
    with started(Serving(PYTHON, "float32"), tmp_path / "first", tmp_path / "log") as server:
        one = Served(model, TOKENIZER, server, tmp_path / "weights", experts=False)
        server._post("collective_rpc", {
            "method": "reload_weights", "kwargs": {"weights_path": str(tmp_path / "second")}
        })
        server.forget_prefixes()
        assert divergence_of(one, prompts) > Vllm().most_divergence
        one.refresh()
        assert divergence_of(one, prompts) < 1e-6


def test_vllm_still_takes_a_token_back_as_processors_cannot() -> None:
    """Where this fails, `Serving.on_processors` may be needed no more: try many prompts at once with seeds."""
    runner = Path(PYTHON).parents[1].glob("lib/python*/site-packages/vllm/v1/worker/gpu_model_runner.py")
    assert "gen.set_offset(gen.get_offset() - 4)" in next(runner).read_text()


def test_adapters_are_sent_with_the_weights(tmp_path: Path) -> None:
    prompts = [Request([2, 20 + place, 30], [place]) for place in range(4)]
    weights.write(random_model(0), TOKENIZER, tmp_path / "first")
    model = random_model(0)
    lora.add(model, lora.Lora(rank=4), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    with started(Serving(PYTHON, "float32"), tmp_path / "first", tmp_path / "log") as server:
        one = Served(model, TOKENIZER, server, tmp_path / "weights", experts=False)
        assert divergence_of(one, prompts) > Vllm().most_divergence
        one.refresh()
        assert divergence_of(one, prompts) < 1e-6


def test_the_extra_can_be_solved() -> None:
    root = Path(__file__).parents[2]
    asked = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", f"{root}[vllm]"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
