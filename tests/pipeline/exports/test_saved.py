"""A folder for vLLM has what vLLM reads and transformers does not write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pipeline.contract.errors import CommandError
from pipeline.exports import saved
from pipeline.models.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(["3"], 48)
Tiny = Callable[..., Any]


@pytest.mark.parametrize("shards", ["5GB", "40KB"])
def test_a_deepseek_has_its_head_and_says_how_experts_are_chosen(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: str
) -> None:
    model = tiny("deepseek_v3", attention_bias=False)
    save = type(model).save_pretrained
    monkeypatch.setattr(type(model), "save_pretrained",
                        lambda self, *given, **named: save(self, *given, **named, max_shard_size=shards))
    saved.write(model, TOKENIZER, tmp_path / "w")
    config = json.loads((tmp_path / "w" / "config.json").read_text())
    assert (config["topk_method"], config["scoring_func"]) == ("noaux_tc", "sigmoid")
    index = tmp_path / "w" / "model.safetensors.index.json"
    assert index.exists() == (shards == "40KB")
    places = json.loads(index.read_text())["weight_map"] if index.exists() else {"lm_head.weight": "head.safetensors"}
    head = load_file(tmp_path / "w" / places["lm_head.weight"])["lm_head.weight"]
    assert torch.equal(head, model.get_input_embeddings().weight)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "w").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_what_vllm_would_pass_over_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="attention_bias is true, and vLLM's deepseek_v3 has no biases"):
        saved.write(tiny("deepseek_v3", attention_bias=True), TOKENIZER, tmp_path / "w")
    saved.write(tiny("qwen3_moe", attention_bias=True), TOKENIZER, tmp_path / "w")
