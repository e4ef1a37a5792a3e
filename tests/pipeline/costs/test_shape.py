"""The sizes of a model, against the model itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from eval.engine.decoder import Decoder
from pipeline.contract.errors import StageError
from pipeline.costs.shape import module_of, shape_of
from pipeline.models import pretrained
from pipeline.models.mtp.module import Mtp

Tiny = Callable[..., Any]
FAMILIES = ["qwen3", "qwen3_moe", "deepseek_v3", "mixtral", "qwen2_moe", "olmoe", "gpt_oss", "dbrx", "jamba"]


@pytest.mark.parametrize("family", [one for one in FAMILIES if one != "qwen3"])
def test_parameters_are_those_of_the_model(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    found = shape_of(model.config.to_dict())
    assert found.parameters == pretrained.parameters(model)
    assert 0 < found.active < found.parameters
    assert found.mixture
    assert 0 < found.share < 1
    assert found.touched(1) < found.touched(10) <= found.parameters


@pytest.mark.parametrize("family", [one for one in FAMILIES if one not in ("qwen3", "dbrx", "jamba")])
def test_the_cache_is_the_engines(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    found = shape_of(model.config.to_dict())
    decoder = Decoder(model.eval())
    with torch.inference_mode():
        decoder.resize(1, 4, 0)  # no longer than any window
    held = [cache.held.numel() for _, attention, _, _ in decoder.layers for cache in attention.caches]
    assert sum(held) == 4 * found.cached
    assert len(held) == found.layers * found.caches


def test_of_a_hybrid_only_attention_has_a_cache(tiny: Tiny) -> None:
    found = shape_of(tiny("jamba").config.to_dict())
    assert (found.layers, found.stateful, found.native) == (2, True, False)
    assert found.cached == 2 * 2 * 8  # keys and values of two heads of 8, in one of two layers
    assert found.attended == 4 * 8 // 2


def test_latent_attention_is_as_wide_as_its_queries_and_values(tiny: Tiny) -> None:
    config = tiny("deepseek_v3").config
    queries = config.qk_nope_head_dim + config.qk_rope_head_dim
    assert shape_of(config.to_dict()).attended == config.num_attention_heads * (queries + config.v_head_dim) // 2


def test_a_dense_model_has_no_experts() -> None:
    fields = {"model_type": "qwen3", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "head_dim": 8,
              "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    tied, untied = (shape_of({**fields, "tie_word_embeddings": tied}) for tied in (True, False))
    assert not tied.mixture
    assert tied.active == tied.parameters  # the head multiplies by what the embedding is
    assert untied.active == untied.parameters - 100 * 32 == tied.active
    assert shape_of({**fields, "dtype": "bfloat16"}).weights == 2 * untied.parameters


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe", "deepseek_v3", "gpt_oss", "mixtral"])
def test_a_module_for_drafts_is_as_large_as_it_is_made(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    own, whole = Mtp(model), shape_of(model.config.to_dict())
    found = module_of(model.config.to_dict())
    assert found.parameters == sum(one.numel() for one in own.parameters())
    assert found.mixture == whole.mixture
    assert found.cached * whole.layers == whole.cached
    head = model.get_output_embeddings().weight.numel()
    assert found.active == found.parameters - round(found.experts * (1 - found.share)) + head


def test_a_family_that_has_no_module_is_told(tiny: Tiny) -> None:
    with pytest.raises(StageError, match="mtp: jamba models are not among"):
        module_of(tiny("jamba").config.to_dict())


def test_what_transformers_does_not_know_is_told() -> None:
    with pytest.raises(StageError, match="no config of qwen33"):
        shape_of({"model_type": "qwen33"})
