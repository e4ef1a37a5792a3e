"""GGUF files are read back by transformers, bit for bit where nothing is rounded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.contract.errors import CommandError
from pipeline.exports import gguf_file
from pipeline.models.tokenizer import train_tokenizer

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install 'retort[gguf]'")

IDS = torch.tensor([[2, 7, 9, 30, 11]])
WORDS = train_tokenizer(["Tom has 3 apples and 12 more = 15."], 64)
WIDE = {"vocab_size": len(WORDS), "hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 32,
        "head_dim": 16}

YARN = {"rope_type": "yarn", "rope_theta": 50.0, "factor": 4.0, "original_max_position_embeddings": 16}


def read_back(model: Any, file: Path) -> Any:
    """What transformers reads. It is given the config, of which it takes no head_dim and no size of experts from GGUF
    files."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, config=model.config).eval()


@pytest.mark.parametrize(("kind", "close"), [("F32", 0), ("F16", 2**-11), ("BF16", 2**-8), ("Q8_0", 1 / 250)])
@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen2", "qwen3_moe"])
def test_transformers_reads_the_same_model(
    tiny: Callable[..., Any], tmp_path: Path, family: str, kind: str, close: float
) -> None:
    model = tiny(family, **WIDE, norm_topk_prob=True)
    gguf_file.write(model, WORDS, tmp_path / "tiny.gguf", kind, "tiny")
    again = read_back(model, tmp_path / "tiny.gguf")
    state = again.state_dict()
    for name, values in model.state_dict().items():
        assert (state[name] - values).abs().max() <= close * values.abs().max(), name
    if kind == "F32":
        assert torch.equal(again(IDS).logits, model(IDS).logits)


def test_what_llama_cpp_reads_of_a_config(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model = tiny("qwen3_moe", **WIDE, norm_topk_prob=True)
    gguf_file.write(model, WORDS, tmp_path / "tiny.gguf", None, "tiny")
    fields = {name: field.contents() for name, field in gguf.GGUFReader(tmp_path / "tiny.gguf").fields.items()}
    assert {name.partition(".")[2]: value for name, value in fields.items() if name.startswith("qwen3moe.")} == {
        "block_count": 2, "context_length": 64, "embedding_length": 64, "feed_forward_length": 64, "vocab_size": 117,
        "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 16,
        "attention.value_length": 16, "attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "rope.freq_base": 50.0, "rope.dimension_count": 16, "expert_count": 4, "expert_used_count": 2,
        "expert_feed_forward_length": 32,
    }
    assert fields["tokenizer.chat_template"] == WORDS.chat_template
    ids = {name: fields[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos", "padding", "unknown")}
    assert ids == {"bos": 2, "eos": 3, "padding": 0, "unknown": 1}
    assert (fields["tokenizer.ggml.add_bos_token"], fields["tokenizer.ggml.add_eos_token"]) == (False, False)


@pytest.mark.parametrize(("family", "changed", "said"), [
    ("gpt_oss", {}, "of the family gpt_oss"),
    ("mistral", {}, "a window of 8 tokens"),
    ("qwen3_moe", {"norm_topk_prob": True, "use_sliding_window": True, "sliding_window": 4}, "a window of 4 tokens"),
    ("qwen3_moe", {"norm_topk_prob": False}, "norm_topk_prob is false"),
    ("qwen3_moe_every_second", {"norm_topk_prob": True}, "some layers are dense"),
    ("deepseek_v3", {}, "attention_bias is true"),
    ("deepseek_v3_plain_queries", {}, "q_lora_rank is null"),
    ("deepseek_v3", {"attention_bias": False, "rope_interleave": False}, "rope_interleave is false"),
    ("deepseek_v3", {"attention_bias": False, "rms_norm_eps": 1e-5}, "rms_norm_eps is 1e-05"),
    ("deepseek_v3_yarn", {"attention_bias": False}, "truncates YaRN's bounds"),
    ("qwen3", {"hidden_act": "gelu"}, "hidden_act is gelu"),
    ("qwen3", {"rope_parameters": {**YARN, "truncate": False}}, "truncate is false"),
    ("qwen3", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 50.0, "factor": 4.0, "low_freq_factor": 1.0,
                                   "high_freq_factor": 4.0, "original_max_position_embeddings": 16}}, "is llama3 here"),
    ("qwen3", {"attention_bias": True}, "attention_bias is true"),
    ("qwen3_moe", {"norm_topk_prob": True, "attention_bias": True}, "attention_bias is true"),
    *(("qwen3", {"rope_parameters": {**YARN, field: 1.5}}, f"and {field} is 1.5")
      for field in ("mscale", "mscale_all_dim", "attention_factor")),
])
def test_what_llama_cpp_cannot_run_is_one_line(
    tiny: Callable[..., Any], tmp_path: Path, family: str, changed: Any, said: str
) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        gguf_file.write(tiny(family, **changed), WORDS, tmp_path / "tiny.gguf", None, "tiny")
    assert len(caught.value.lines) == 1


def test_a_precision_that_gguf_files_lack_is_one_line(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model = tiny("qwen3", **WIDE).double()
    with pytest.raises(CommandError, match=r"saved in float64, .*; give --type F32, F16"):
        gguf_file.write(model, WORDS, tmp_path / "tiny.gguf", None, "tiny")
    gguf_file.write(model, WORDS, tmp_path / "tiny.gguf", "F32", "tiny")


def test_numbers_that_a_type_cannot_hold_are_one_line(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model = tiny("qwen3", vocab_size=len(WORDS), intermediate_size=40)
    with pytest.raises(CommandError, match=r"blocks of 32 numbers, and those of blk.0.ffn_down.weight have 40"):
        gguf_file.write(model, WORDS, tmp_path / "tiny.gguf", "Q8_0", "tiny")
    with torch.no_grad():
        model.model.embed_tokens.weight[0, 0] = 1e5
    with pytest.raises(CommandError, match=r"token_embd\.weight has numbers that F16 cannot hold"):
        gguf_file.write(model, WORDS, tmp_path / "tiny.gguf", "F16", "tiny")
