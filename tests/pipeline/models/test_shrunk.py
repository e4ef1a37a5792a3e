"""Tiny models of every family, and a tokenizer that any text goes through."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.contract.errors import StageError
from pipeline.models import pretrained
from pipeline.models.origin import from_scratch
from pipeline.models.shrunk import LARGEST, byte_tokenizer, folder_of
from tests.conftest import TINY

LARGE = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 16,
         "num_key_value_heads": 8, "vocab_size": 150_000}


@pytest.mark.parametrize("family", TINY)
def test_a_large_one_becomes_a_tiny_one_of_its_family(family: str, tmp_path: Path) -> None:
    sizes = {name: size for name, size in LARGE.items() if name in TINY[family]}
    lists = {name: value * 12 for name, value in TINY[family].items() if name == "layer_types"}
    config = {**TINY[family], **sizes, **lists, "dtype": "bfloat16", "architectures": ["Something"]}
    folder = folder_of(tmp_path, config, "one")
    model, tokenizer = pretrained.load(folder)
    assert model.config.model_type == config["model_type"]
    assert pretrained.parameters(model) < LARGEST
    assert str(model.dtype) == "torch.bfloat16"
    assert len(tokenizer) <= model.config.vocab_size
    assert tokenizer.decode(tokenizer("2 + 3 =\n", add_special_tokens=False)["input_ids"]) == "2 + 3 =\n"
    assert tokenizer.eos_token == "<|im_end|>"
    assert not from_scratch(model)  # it is trained as one that was given
    assert folder_of(tmp_path, config, "one") == folder


def test_kinds_of_layers_are_kept(tmp_path: Path) -> None:
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    config: dict[str, Any] = {**TINY["gpt_oss"], "num_hidden_layers": 24, "layer_types": kinds * 4}
    model, _ = pretrained.load(folder_of(tmp_path, config, "one"))
    assert model.config.layer_types == ["sliding_attention", "full_attention"]


def test_any_text_is_tokens_and_itself_again() -> None:
    tokenizer = byte_tokenizer()
    for text in ("2 + 3 = \\boxed{5}", "naïve 北京 \U0001f600\n\t\0", "<|im_end|>x"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize(("options", "end"), [
    ({}, "<|im_start|>assistant\n"), ({"enable_thinking": False}, "<think>\n\n</think>\n\n"),
])
def test_the_template_has_the_options_of_reasoning_models(options: dict[str, Any], end: str) -> None:
    told = byte_tokenizer().apply_chat_template(
        [{"role": "user", "content": "2 + 3?"}], tokenize=False, add_generation_prompt=True, reasoning_effort="low",
        **options
    )
    assert told.startswith("<|im_start|>system\nReasoning: low<|im_end|>\n<|im_start|>user\n2 + 3?<|im_end|>\n")
    assert told.endswith(end)


def test_sizes_of_other_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="gpt2: its sizes have names that `shrink` does not know"):
        folder_of(tmp_path, {"model_type": "gpt2", "n_embd": 2048, "n_layer": 24, "n_head": 16}, "one")
    with pytest.raises(StageError, match="transformers does not build a tiny nothing"):
        folder_of(tmp_path, {"model_type": "nothing"}, "two")
    assert not list((tmp_path / "shrunk").iterdir())
