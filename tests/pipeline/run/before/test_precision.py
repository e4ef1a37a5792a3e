"""A given model in float16 is not trained in it, which is told before the first stage."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.recipe import recipe
from pipeline.run.before import precision

RECIPE = """\
stages:
  tuned: {kind: sft, model: given, data: rows.jsonl}
  student: {kind: distill, student: given, traces: rows.jsonl}
  score: {kind: evaluate, models: [given, tuned], problems: [word_problems:test]}
"""


def check(folder: Path, recipe_text: str = RECIPE, **config: object) -> None:
    (folder / "recipe.yaml").write_text(recipe_text)
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (folder / "given").mkdir(exist_ok=True)
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / "given" / name).touch()
    (folder / "given" / "config.json").write_text(json.dumps({"model_type": "qwen3", **config}))
    precision.check(recipe.read(str(folder / "recipe.yaml"), resolve_hub=lambda _: "").steps.values())


@pytest.mark.parametrize("config", [{"torch_dtype": "float16"}, {"dtype": "float16"},
                                    {"text_config": {"dtype": "float16"}}, {"dtype": "float16", "text_config": {}}])
def test_each_stage_that_would_train_it_is_told(tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises(RecipeError) as told:
        check(tmp_path, **config)
    first, second = str(told.value).splitlines()
    assert "recipe.yaml:2: tuned.dtype: the model is in float16" in first
    assert "recipe.yaml:3: student.dtype: the model is in float16" in second


@pytest.mark.parametrize("config", [
    {}, {"dtype": "bfloat16"}, {"torch_dtype": "float32"},
    {"dtype": "float16", "quantization_config": {"quant_method": "fp8"}},  # widened when it is loaded
])
def test_others_are_trained_as_they_are(tmp_path: Path, config: dict[str, object]) -> None:
    check(tmp_path, **config)


def test_a_config_beside_an_adapter_says_nothing_of_its_base(tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        check(tmp_path, dtype="float16")
    given = tmp_path / "given"
    (given / "model.safetensors").rename(given / "adapter_model.safetensors")
    (given / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "../base"}))
    shutil.copytree(given, tmp_path / "base")
    (tmp_path / "base" / "adapter_model.safetensors").rename(tmp_path / "base" / "model.safetensors")
    (tmp_path / "base" / "adapter_config.json").unlink()
    precision.check(recipe.read(str(tmp_path / "recipe.yaml"), resolve_hub=lambda _: "").steps.values())


def test_a_precision_that_the_stage_names_is_taken(tmp_path: Path) -> None:
    named = RECIPE.replace("rows.jsonl}", "rows.jsonl, dtype: float32}")
    check(tmp_path, named, torch_dtype="float16")
