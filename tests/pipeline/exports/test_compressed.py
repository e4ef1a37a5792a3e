"""What was rounded is read back by transformers, with compressed-tensors' own loader, as what it was rounded to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, MiniMaxConfig, MiniMaxForCausalLM

from pipeline.contract.errors import CommandError
from pipeline.exports import compressed, mxfp4
from pipeline.models.tokenizer import train_tokenizer

pytest.importorskip("compressed_tensors", reason="needs compressed-tensors: pip install 'retort[compressed]'")

WORDS = train_tokenizer(["Tom has 3 apples."], 64)
WIDE = {"vocab_size": len(WORDS), "hidden_size": 64, "intermediate_size": 64, "head_dim": 16}
EXPERTS = {**WIDE, "moe_intermediate_size": 32}
IDS = torch.tensor([[2, 7, 9, 30, 11]])


def read_back(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=CompressedTensorsConfig(dequantize=True), dtype=torch.float32
    )


def difference(model: Any, again: Any, name: str) -> float:
    """The root mean square of what differs, over that of the weights."""
    before, after = model.state_dict()[name], again.state_dict()[name]
    return ((after - before).norm() / before.norm()).item()


@pytest.mark.parametrize(("preset", "least", "most"), [(compressed.FP8, 0.01, 0.03), (compressed.MXFP4, 0.05, 0.15)])
@pytest.mark.parametrize(("family", "fields"), [("qwen3", WIDE), ("llama", WIDE), ("qwen3_moe", EXPERTS)])
def test_transformers_reads_what_was_rounded(
    tiny: Callable[..., Any], tmp_path: Path, family: str, fields: Any, preset: str, least: float, most: float
) -> None:
    model = tiny(family, **fields)
    loss = compressed.write(model, WORDS, tmp_path, preset)
    again = read_back(tmp_path)
    assert again.state_dict().keys() == model.state_dict().keys()
    rounded = [name for name in model.state_dict() if "_proj" in name]
    for name, values in again.state_dict().items():
        if name in rounded:
            assert least < difference(model, again, name) < most, name
        else:
            assert torch.equal(values, model.state_dict()[name]), name
    own, others = (torch.cat([one.state_dict()[name].flatten() for name in rounded]) for one in (model, again))
    assert f"differ by {((others - own).norm() / own.norm()).item():.2%}" in str(loss)


def test_gpt_oss_is_written_in_its_own_form(tiny: Callable[..., Any], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, Mxfp4Config

    model = tiny("gpt_oss", **{**WIDE, "intermediate_size": 32})
    mxfp4.write(model, WORDS, tmp_path)
    again = AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=Mxfp4Config(dequantize=True), dtype=torch.float32
    )
    for name, values in again.state_dict().items():
        if name.endswith(("gate_up_proj", "down_proj")):
            assert 0.05 < difference(model, again, name) < 0.15, name
        else:
            assert torch.equal(values, model.state_dict()[name]), name


def test_convolutions_and_routers_of_jamba_are_left_as_they_are(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model = tiny("jamba", vocab_size=len(WORDS))
    compressed.write(model, WORDS, tmp_path, compressed.FP8)
    stored = load_file(tmp_path / "model.safetensors")
    left = [name for name in model.state_dict() if name.endswith(("conv1d.weight", "router.weight"))]
    assert len(left) == 3
    for name in left:
        assert torch.equal(stored[name], model.state_dict()[name]), name
    assert stored["model.layers.0.mamba.in_proj.weight"].dtype == torch.float8_e4m3fn
    assert stored["model.layers.0.feed_forward.experts.0.up_proj.weight"].dtype == torch.float8_e4m3fn


def test_what_a_minimax_counts_its_attention_down_by_is_left_as_it_is(tmp_path: Path) -> None:
    """Buffers of three dimensions, which are saved."""
    model = MiniMaxForCausalLM(MiniMaxConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, intermediate_size=64, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_local_experts=4,
    ))
    compressed.write(model, WORDS, tmp_path, compressed.FP8)
    again = read_back(tmp_path)
    left = [name for name in model.state_dict() if name.endswith("_decay")]
    assert len(left) == 3
    for name in left:
        assert torch.equal(again.state_dict()[name], model.state_dict()[name]), name
    for name in ("self_attn.out_proj.weight", "mlp.experts.down_proj"):
        assert 0.01 < difference(model, again, f"model.layers.1.{name}") < 0.03, name


def test_numbers_that_mxfp4_has_are_kept() -> None:
    """Two blocks of a row with scales of their own, one of them of zeros alone."""
    values = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.5, -6.0] + [0.0] * 22)
    rows = torch.stack([torch.cat([values, values * 2**-20]), torch.cat([values * 0, -values * 2**12])])
    made, back = compressed.compress("weight", rows, compressed.MXFP4)
    assert torch.equal(back, rows)
    assert made["weight_packed"].shape == (2, 32)
    assert made["weight_scale"][0].tolist() == [127, 107]


@pytest.mark.parametrize(("family", "changed", "preset", "said"), [
    ("gpt_oss", {}, compressed.FP8, "has its experts in one tensor"),
    ("dbrx", {}, compressed.FP8, r"has its experts in one tensor \(.*\.experts\.mlp\."),
    ("qwen3", {"intermediate_size": 40}, compressed.MXFP4, "blocks of 32 numbers, and those of .*down_proj.weight"),
])
def test_what_a_format_has_no_words_for_is_one_line(
    tiny: Callable[..., Any], tmp_path: Path, family: str, changed: Any, preset: str, said: str
) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        compressed.write(tiny(family, vocab_size=len(WORDS), **changed), WORDS, tmp_path, preset)
    assert len(caught.value.lines) == 1


def test_a_model_without_linear_layers_is_refused(tmp_path: Path) -> None:
    """GPT-2's layers are of a class of its own, and a folder that says it is compressed would hold nothing that is."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(WORDS), n_embd=32, n_layer=1, n_head=2, n_positions=32))
    with pytest.raises(CommandError, match="the family gpt2 has no linear layers that this format stores"):
        compressed.write(model, WORDS, tmp_path / "w", compressed.FP8)
