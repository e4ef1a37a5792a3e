"""Longer contexts: a model built anew from its own weights, with nothing stale in it. Rows that are padded on the
left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from pipeline.contract.errors import StageError
from pipeline.models import pretrained
from pipeline.models.positions import positions_of, rescaled
from pipeline.models.tokenizer import train_tokenizer
from pipeline.training import logprobs
from pipeline.training.logprobs import completion_logprobs

Tiny = Callable[..., Any]
YARN = {"rope_type": "yarn", "factor": 4.0, "beta_fast": 4.0, "beta_slow": 1.0, "truncate": False}
LATENT_YARN = {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0}
IDS = torch.randint(4, 48, (3, 40), generator=torch.Generator().manual_seed(0))


OTHERS = ("mixtral", "olmoe", "qwen2_moe", "qwen3_moe_every_second", "deepseek_v2", "gpt_oss", "dbrx", "jamba")


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3", "qwen3_moe", *OTHERS])
def test_without_scaling_nothing_changes_but_the_length(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    same = rescaled(model, 64, None).eval()
    assert torch.equal(same(IDS).logits, model(IDS).logits)
    longer = rescaled(model, 256, None).eval()
    assert torch.equal(longer(IDS).logits, model(IDS).logits)
    assert longer.config.max_position_embeddings == 256
    assert model.config.max_position_embeddings == 64


BOTH = ["sliding_attention", "full_attention"]
SIZES = {
    "vocab_size": 48, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "hidden_size": 32,
    "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "initializer_range": 0.4,
}


@pytest.mark.parametrize(("family", "more"), [
    ("glm4", {"head_dim": 8}), ("phi", {}), ("stablelm", {}),
    ("nemotron", {}), ("gemma3_text", {"head_dim": 8, "layer_types": BOTH}), ("olmo3", {"layer_types": BOTH}),
])
def test_what_scaling_does_not_say_stays(family: str, more: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**SIZES, **more})).eval()
    longer = rescaled(model, 256, {"rope_type": "default"}).eval()
    assert torch.equal(longer(IDS).logits, model(IDS).logits)
    stretched = rescaled(model, 256, {"rope_type": "linear", "factor": 4.0}).eval()
    assert not torch.allclose(stretched(IDS).logits, model(IDS).logits, atol=1e-2)


def test_a_model_that_was_scaled_keeps_the_length_it_began_with(tiny: Tiny) -> None:
    longer = rescaled(tiny("qwen3"), 256, YARN)
    longest = rescaled(longer, 512, {**YARN, "factor": 8.0})
    assert longest.config.rope_parameters["original_max_position_embeddings"] == 64
    assert longest.config.rope_parameters["factor"] == 8.0


@pytest.mark.parametrize(("family", "scaling"), [
    ("deepseek_v3", LATENT_YARN), ("qwen3", YARN), ("qwen3_moe", YARN), *((family, YARN) for family in OTHERS[:-2]),
])
def test_yarn_is_there_and_survives_saving(tiny: Tiny, tmp_path: Path, family: str, scaling: dict[str, Any]) -> None:
    model = tiny(family)
    longer = rescaled(model, 256, scaling).eval()
    rope = longer.config.rope_parameters
    assert (rope["rope_type"], rope["rope_theta"], rope["original_max_position_embeddings"]) == ("yarn", 50.0, 64)
    assert (longer(IDS).logits - model(IDS).logits).abs().max() > 1e-2
    assert torch.equal(
        longer.state_dict()["model.embed_tokens.weight"], model.state_dict()["model.embed_tokens.weight"]
    )

    tokenizer = train_tokenizer(["a"], 256)
    longer.resize_token_embeddings(len(tokenizer))
    pretrained.save(longer, tokenizer, tmp_path)
    loaded, _ = pretrained.load(tmp_path)
    assert torch.allclose(loaded.eval()(IDS).logits, longer(IDS).logits, atol=1e-5)
    assert loaded.config.rope_parameters["original_max_position_embeddings"] == 64


@pytest.mark.parametrize("scaling", [None, {"rope_type": "linear", "factor": 4.0}])
def test_of_a_model_that_sees_the_text_is_extended(scaling: dict[str, Any] | None) -> None:
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(
        "gemma3", text_config={**SIZES, "head_dim": 8, "layer_types": BOTH}, vision_config=vision, mm_tokens_per_image=4
    )).eval()
    longer = rescaled(model, 256, scaling).eval()
    assert pretrained.trained_context(longer) == 256
    assert torch.equal(longer(IDS).logits, model(IDS).logits) == (scaling is None)


def test_a_scaling_that_the_family_has_not_is_one_line() -> None:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
            "original_max_position_embeddings": 32}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(
        "phi3", **SIZES, rope_parameters=rope, original_max_position_embeddings=32
    ))
    with pytest.raises(StageError, match=r"a phi3 of 256 tokens is not built with scaling .*longrope"):
        rescaled(model, 256, YARN)


def test_what_is_not_there_is_not_scaled(tiny: Tiny) -> None:
    with pytest.raises(StageError, match="scaling: jamba models have no rope_parameters to scale"):
        rescaled(tiny("jamba"), 256, YARN)


def test_the_temperature_of_yarn_reaches_latent_attention(tiny: Tiny) -> None:
    model = tiny("deepseek_v3")
    scale = model.model.layers[0].self_attn.scaling
    assert rescaled(model, 256, LATENT_YARN).model.layers[0].self_attn.scaling > scale * 1.05
    assert rescaled(model, 256, None).model.layers[0].self_attn.scaling == scale


def test_frequencies_turn_slower(tiny: Tiny) -> None:
    model = tiny("qwen3")
    before, after = model.model.rotary_emb.inv_freq, rescaled(model, 256, YARN).model.rotary_emb.inv_freq
    ratio = before / after
    assert ratio.min() >= 1.0
    assert ratio.max() == pytest.approx(4.0)


def test_parameters_are_a_copy(tiny: Tiny) -> None:
    model = tiny("qwen3")
    longer = rescaled(model, 128, None)
    with torch.no_grad():
        longer.model.embed_tokens.weight.zero_()
    assert model.model.embed_tokens.weight.abs().max() > 0
    assert isinstance(longer, nn.Module)


LEARNED: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3},
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]],
        "max_position_embeddings": 64, "initializer_range": 0.3,
    },
    "opt": {
        "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 32,
        "max_position_embeddings": 64, "init_std": 0.3,
    },
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3},
}
"""Families whose tokens have learned places, and one that bends attention by distance."""


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_learned_positions_cannot_be_extended(family: str) -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, vocab_size=64, **LEARNED[family]))
    with pytest.raises(StageError, match=f"{family} models learn a vector for each position"):
        rescaled(model, 128, None)


@pytest.mark.parametrize("family", LEARNED)
@pytest.mark.parametrize("held", [True, False])
def test_what_stands_before_a_row_does_not_move_it(
    family: str, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AutoConfig.for_model(family, vocab_size=48, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                                  **LEARNED[family])
    model = AutoModelForCausalLM.from_config(config).eval()
    if not held:
        monkeypatch.setattr(logprobs, "LOGITS", 0)
    alone = torch.randint(4, 48, (1, 9), generator=torch.Generator().manual_seed(1))
    padded = torch.cat([torch.zeros(1, 5, dtype=torch.long), alone], dim=1)
    mask = torch.cat([torch.zeros(1, 5, dtype=torch.long), torch.ones_like(alone)], dim=1)
    expected = completion_logprobs(model, alone, torch.ones_like(alone), 4, 1.0)[0]
    assert expected.abs().max() > 1
    assert torch.allclose(completion_logprobs(model, padded, mask, 4, 1.0)[0], expected, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "deepseek_v3"])
def test_where_distances_count_nothing_is_told(tiny: Tiny, family: str) -> None:
    assert positions_of(tiny(family), torch.ones_like(IDS)) == {}
