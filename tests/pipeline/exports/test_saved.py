"""A folder for vLLM has what vLLM reads and transformers does not write."""

import json
import re
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
from pipeline.serving import weights

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
    with pytest.raises(CommandError, match="attention_bias is true, and vLLM's deepseek_v3 computes as if"):
        saved.write(tiny("deepseek_v3", attention_bias=True), TOKENIZER, tmp_path / "w")
    saved.write(tiny("mixtral"), TOKENIZER, tmp_path / "w")


YARN = {"rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}


@pytest.mark.parametrize(("family", "changed", "said"), [
    ("deepseek_v3", {"rope_interleave": False}, "rope_interleave is false"),
    ("deepseek_v3", {"rope_parameters": {**YARN, "rope_type": "linear"}}, 'rope_type is "linear"'),
    ("deepseek_v3", {"rope_parameters": {**YARN, "rope_type": "yarn"}}, None),
    ("deepseek_v2", {"rms_norm_eps": 1e-5}, "rms_norm_eps is 1e-05"),
    ("olmoe", {"norm_topk_prob": True}, "norm_topk_prob is true"), ("olmoe", {"clip_qkv": 8.0}, r"clip_qkv is 8\.0"),
    ("qwen3", {"attention_bias": True}, "attention_bias is true"),
    ("qwen3", {"rope_parameters": {**YARN, "rope_type": "linear"}}, None),
    ("mixtral", {}, None), ("qwen3_moe", {}, None),
])
def test_configs_that_vllm_computes_otherwise(tiny: Tiny, family: str, changed: Any, said: str | None) -> None:
    plain = {"attention_bias": False} if family.startswith("deepseek") else {}
    plain |= {"rms_norm_eps": 1e-5} if family == "olmoe" else {}
    found = weights.passed_over(tiny(family, **{**plain, **changed}).config.to_dict())
    assert (found is None) == (said is None)
    assert re.match(said or "", found or "")


def test_a_deepseek_v2_says_how_its_experts_are_weighed(tiny: Tiny) -> None:
    asked = weights.asked_by_vllm(tiny("deepseek_v2", topk_method="greedy", n_group=None).config)
    assert asked == {"norm_topk_prob": False, "n_group": 1, "topk_group": 1}
    limited = tiny("deepseek_v2", topk_method="group_limited_greedy", n_group=2, topk_group=1)
    assert weights.asked_by_vllm(limited.config) == {"norm_topk_prob": False}


def test_numbers_that_a_type_cannot_hold_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    model = tiny("qwen3")
    model.model.norm.weight.data[0] = 1e5
    with pytest.raises(CommandError, match=r"model\.norm\.weight has numbers that are infinite or none in float16"):
        saved.write(model.half(), TOKENIZER, tmp_path / "w")
