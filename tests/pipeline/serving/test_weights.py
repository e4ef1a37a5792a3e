import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pipeline.models import lora
from pipeline.models.tokenizer import train_tokenizer
from pipeline.serving import weights

TOKENIZER = train_tokenizer(["3"], 48)


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe", "deepseek_v3"])
def test_what_is_written_is_the_model_and_its_head(
    family: str, tiny: Callable[..., Any], tmp_path: Path
) -> None:
    model = tiny(family)
    weights.write(model, TOKENIZER, tmp_path / "w")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "w")
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    head = load_file(tmp_path / "w" / "head.safetensors")
    assert torch.equal(head["lm_head.weight"], model.get_input_embeddings().weight)
    assert (tmp_path / "w" / "tokenizer.json").exists()


def test_deepseeks_config_says_how_experts_are_chosen(tiny: Callable[..., Any], tmp_path: Path) -> None:
    weights.write(tiny("deepseek_v3"), TOKENIZER, tmp_path / "w")
    config = json.loads((tmp_path / "w" / "config.json").read_text())
    assert (config["topk_method"], config["scoring_func"]) == ("noaux_tc", "sigmoid")


def test_a_model_with_its_own_head_is_written_once(tiny: Callable[..., Any], tmp_path: Path) -> None:
    weights.write(tiny("qwen3", tie_word_embeddings=False), TOKENIZER, tmp_path / "w")
    assert not (tmp_path / "w" / "head.safetensors").exists()


@pytest.mark.parametrize(("family", "dtype"), [
    ("qwen3", torch.float32), ("deepseek_v3", torch.float32), ("gpt_oss", torch.float32), ("mixtral", torch.bfloat16)
])
def test_adapters_are_added_and_stay(
    family: str, dtype: torch.dtype, tiny: Callable[..., Any], tmp_path: Path
) -> None:
    model = tiny(family).to(dtype)
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = lora.add(model, lora.Lora(rank=2), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights.write(model, TOKENIZER, tmp_path / "w")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "w").state_dict()
    merged = wrapped.merge_and_unload().state_dict()
    assert set(again) == set(merged) == set(plain)
    assert all(torch.equal(value, again[name]) for name, value in merged.items())
    assert {value.dtype for value in load_file(tmp_path / "w" / "model.safetensors").values()} == {dtype}
    assert not all(torch.equal(value, again[name]) for name, value in plain.items())
