"""What is saved is what was in memory, and where it is not that is said."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pipeline.contract.errors import StageError
from pipeline.models import audit

Tiny = Callable[..., Any]
FAMILIES = (
    "deepseek_v3", "qwen3_moe", "mixtral", "olmoe", "qwen2_moe", "deepseek_v2", "gpt_oss", "dbrx", "qwen3", "jamba",
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_saved_is_the_model(tiny: Tiny, tmp_path: Path, family: str, dtype: torch.dtype) -> None:
    tiny(family).save_pretrained(tmp_path / "first")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "first", dtype=dtype)
    model.save_pretrained(tmp_path / "second")
    audit.check(model, tmp_path / "second", "test")


@pytest.mark.parametrize(("family", "expert"), [
    ("deepseek_v3", "model.layers.1.mlp.experts.2.up_proj.weight"),
    ("qwen3_moe", "model.layers.0.mlp.experts.3.down_proj.weight"),
])
def test_one_value_of_one_expert_of_one_layer_is_found(tiny: Tiny, tmp_path: Path, family: str, expert: str) -> None:
    model = tiny(family)
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors[expert][3, 5] += 1e-6
    save_file(tensors, file, {"format": "pt"})
    layer = expert.split(".experts")[0]
    with pytest.raises(
        StageError, match=rf"test: .* does not hold the model in memory: {layer}.experts.* differs in 1 of"
    ):
        audit.check(model, tmp_path, "test")


def test_a_flipped_bit_is_found(tiny: Tiny, tmp_path: Path) -> None:
    model = tiny("qwen3")
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    content = bytearray(file.read_bytes())
    start = 8 + struct.unpack("<Q", content[:8])[0]
    content[start + (len(content) - start) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(StageError, match="differs in 1 of"):
        audit.check(model, tmp_path, "test")


def test_every_kind_of_difference_is_told() -> None:
    ours = {
        "a": torch.zeros(2), "b": torch.zeros(2), "c": torch.zeros(2), "d": torch.zeros(2),
        "nan": torch.tensor([torch.nan])
    }
    theirs = {
        "b": torch.zeros(3), "c": torch.zeros(2).half(), "d": torch.tensor([0.0, -0.0]), "e": torch.zeros(1),
        "nan": ours["nan"]
    }
    told = audit.differences(ours, theirs)
    assert [line.split()[0] for line in told] == ["a", "b", "c", "d", "e"]
    assert audit.differences(ours, ours) == []


def test_values_that_differ_in_bits_alone_are_counted_and_scalars_are_read() -> None:
    other_nan = torch.tensor([0x7FC00001], dtype=torch.int32).view(torch.float32)
    ours = {
        "step": torch.tensor(3.0), "zeros": torch.zeros(2, 3).T, "nan": torch.tensor([torch.nan, 1]),
        "none": torch.zeros(0, 2)
    }
    theirs = {"step": torch.tensor(-3.0), "zeros": torch.tensor([[0.0, -0.0]] * 3), 
              "nan": torch.cat([other_nan, torch.ones(1)]),
              "none": ours["none"]}
    assert audit.differences(ours, theirs) == [
        "step differs in 1 of 1 values", "zeros differs in 3 of 6 values", "nan differs in 1 of 2 values",
    ]
    assert audit.differences(ours, ours) == []
