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


@pytest.mark.parametrize("kind", CONFIGS)
def test_modules_that_learn_with_a_model_in_parts_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Say.", "completion": "3"}\n')
    (tmp_path / "config.yaml").write_text(CONFIGS[kind])
    asked = recipe.read(str(tmp_path / "recipe.yaml"))
    assert asked.accelerate is not None
    if kind not in ("fsdp2", "zero3"):
        parts.check(asked.accelerate, asked.steps.values())
        return
    with pytest.raises(RecipeError) as caught:
        parts.check(asked.accelerate, asked.steps.values())
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}/recipe.yaml:3: base.mtp: ")
    assert second.startswith(f"{tmp_path}/recipe.yaml:9: tuned.mtp: ")
    assert second.endswith("or in grpo, where it learns beside the policy")


@pytest.mark.parametrize("kind", CONFIGS)
def test_eight_bits_are_refused_where_matrices_are_shared_out(tmp_path: Path, kind: str) -> None:
    (tmp_path / "recipe.yaml").write_text(EIGHT)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Say.", "completion": "3"}\n')
    (tmp_path / "config.yaml").write_text(CONFIGS[kind])
    asked = recipe.read(str(tmp_path / "recipe.yaml"))
    assert asked.accelerate is not None
    if kind == "ddp":
        parts.check(asked.accelerate, asked.steps.values())
        return
    with pytest.raises(RecipeError) as caught:
        parts.check(asked.accelerate, asked.steps.values())
    told = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert told == ["base.fp8", "long.fp8", "tuned.fp8"]
