"""What needs a model in one piece is refused before any work, where processes have it in parts."""

from pathlib import Path

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.recipe import recipe
from pipeline.run.before import parts
from pipeline.stages import grpo
from tests.launchers import CONFIGS

RECIPE = """\
accelerate: config.yaml
stages:
  base:
    kind: pretrain
    steps: 8
    optimizer: {name: adamw}
    mtp: {}
    architecture: {model_type: qwen3, hidden_size: 32, num_hidden_layers: 1, intermediate_size: 32}
  zero: {kind: grpo, model: base, problems: [word_problems:train], steps: 1, mtp: {}}
  tuned: {kind: sft, model: zero, data: rows.jsonl, mtp: {}}
  again: {kind: sft, model: zero, data: rows.jsonl}
"""
EIGHT = """\
accelerate: config.yaml
stages:
  base:
    kind: pretrain
    steps: 8
    optimizer: {name: adamw}
    fp8: {}
    architecture: {model_type: qwen3, hidden_size: 32, num_hidden_layers: 1, intermediate_size: 32}
  long: {kind: extend, model: base, fp8: {}, phases: [{length: 64, steps: 1}]}
  tuned: {kind: sft, model: base, data: rows.jsonl, fp8: {}}
  again: {kind: sft, model: base, data: rows.jsonl}
"""


def faults_of(folder: Path, kind: str, text: str) -> list[str]:
    """What is told of a recipe under the shipped config of this kind, in lines."""
    (folder / "recipe.yaml").write_text(text)
    (folder / "rows.jsonl").write_text('{"prompt": "Say.", "completion": "3"}\n')
    (folder / "config.yaml").write_text(CONFIGS[kind])
    asked = recipe.read(str(folder / "recipe.yaml"))
    assert asked.accelerate is not None
    try:
        parts.check(asked.accelerate, asked.steps.values())
    except RecipeError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("kind", CONFIGS)
def test_modules_that_learn_with_a_model_in_parts_are_refused(tmp_path: Path, kind: str) -> None:
    faults = faults_of(tmp_path, kind, RECIPE)
    if kind not in ("fsdp2", "zero3"):
        assert faults == []
        return
    first, second = faults
    assert first.startswith(f"{tmp_path}/recipe.yaml:3: base.mtp: ")
    assert second.startswith(f"{tmp_path}/recipe.yaml:10: tuned.mtp: ")
    assert second.endswith("or in grpo, where it learns beside the policy")


@pytest.mark.parametrize("kind", CONFIGS)
def test_eight_bits_are_refused_where_matrices_are_shared_out(tmp_path: Path, kind: str) -> None:
    told = [line.split(": ")[1] for line in faults_of(tmp_path, kind, EIGHT)]
    assert told == ([] if kind == "ddp" else ["base.fp8", "long.fp8", "tuned.fp8"])


SHARED = """\
accelerate: config.yaml
stages:
  base:
    kind: pretrain
    steps: 8
    batch_size: 7
    architecture: {model_type: qwen3, hidden_size: 32, num_hidden_layers: 1, intermediate_size: 32}
  zero: {kind: grpo, model: base, problems: [word_problems:train], steps: 1, lora: {rank: 4}}
  odd: {kind: grpo, model: base, problems: [word_problems:train], steps: 1, prompts_per_step: 3, group_size: 3,
        updates_per_step: 1}
  tuned: {kind: sft, model: base, data: rows.jsonl, optimizer: {name: adafactor}}
  again: {kind: sft, model: base, data: rows.jsonl, dtype: bfloat16}
"""


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_processes_cannot_share_is_told_before_any_work(tmp_path: Path, kind: str) -> None:
    told = {line.split(": ", 2)[1]: line.split(": ", 2)[2] for line in faults_of(tmp_path, kind, SHARED)}
    expected = {"base.batch_size", "odd.prompts_per_step"}
    if kind != "ddp":
        expected |= {"tuned.optimizer", "again.dtype"}
    if kind.startswith("zero"):
        expected.add("base.optimizer")  # muon is what a model that is made here is trained by
    if kind in ("fsdp2", "zero3"):
        expected.add("zero.lora")
    assert {*told} == expected
    assert told["odd.prompts_per_step"] == "a batch of 9 does not split over 2 processes"


DRAWN = """\
accelerate: config.yaml
stages:
  base:
    kind: pretrain
    steps: 8
    optimizer: {name: adamw}
    architecture: {model_type: qwen3, hidden_size: 32, num_hidden_layers: 1, intermediate_size: 32}
  own: {kind: grpo, model: base, problems: [word_problems:train], steps: 1, engine: vllm, vllm: {python: /bin/true}}
  given: {kind: grpo, model: base, problems: [word_problems:train], steps: 1, dynamic_sampling: 1, engine: vllm,
          vllm: {url: "http://localhost:8000"}}
  inside: {kind: grpo, model: base, problems: [word_problems:train], steps: 1, dynamic_sampling: 1, engine: vllm}
  odd: {kind: grpo, model: base, problems: [word_problems:train], steps: 1, dynamic_sampling: 1, prompts_per_step: 5,
        group_size: 4}
  even: {kind: grpo, model: base, problems: [word_problems:train], steps: 1, dynamic_sampling: 1, prompts_per_step: 6,
         group_size: 4}
"""


def test_draws_that_processes_cannot_share_are_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpo, "missing", lambda: None)  # as where vLLM is installed
    told = {line.split(": ", 2)[1]: line.split(": ", 2)[2] for line in faults_of(tmp_path, "ddp", DRAWN)}
    assert {*told} == {"own.vllm", "inside.dynamic_sampling", "odd.dynamic_sampling"}
    assert told["own.vllm"].startswith("python starts a server for one process")
    assert told["inside.dynamic_sampling"].endswith("with engine vllm is for one process")
    assert told["odd.dynamic_sampling"].startswith("dynamic sampling needs whole groups in every process")
