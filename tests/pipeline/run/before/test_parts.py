"""What needs a model in one piece is refused before any work, where processes have it in parts."""

from pathlib import Path

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.recipe import recipe
from pipeline.run.before import parts
from tests.launchers import CONFIGS

RECIPE = """\
accelerate: config.yaml
stages:
  base:
    kind: pretrain
    steps: 8
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
    assert second.startswith(f"{tmp_path}/recipe.yaml:9: tuned.mtp: ")
    assert second.endswith("or in grpo, where it learns beside the policy")


@pytest.mark.parametrize("kind", CONFIGS)
def test_eight_bits_are_refused_where_matrices_are_shared_out(tmp_path: Path, kind: str) -> None:
    told = [line.split(": ")[1] for line in faults_of(tmp_path, kind, EIGHT)]
    assert told == ([] if kind == "ddp" else ["base.fp8", "long.fp8", "tuned.fp8"])
