"""Which engine a model gets, and what is refused or drawn without padding."""

import warnings
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from eval.engine import engine_for
from eval.engine.native import NativeEngine
from eval.engine.plain import PlainEngine
from eval.errors import FamilyError
from pipeline.models import lora
from tests.eval.engine.asked import SAMPLING, Tiny, Tokenizer, full_forward, plain, requests


@pytest.mark.parametrize(
    ("family", "changed", "engine"),
    [
        ("deepseek_v3", {}, NativeEngine),
        ("qwen3", {}, NativeEngine),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}, NativeEngine),
        ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}, NativeEngine),
        ("qwen2_moe", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}, NativeEngine),
        # What another family's config would say of windows, and this one does not read.
        ("llama", {"sliding_window": 4, "layer_types": ["sliding_attention"] * 2}, NativeEngine),
        ("olmoe", {"sliding_window": 4}, NativeEngine),
        ("deepseek_v3", {"sliding_window": 4}, NativeEngine),
        ("mistral", {"sliding_window": 4, "layer_types": ["full_attention"] * 2}, NativeEngine),
        ("mixtral", {"sliding_window": 4, "layer_types": ["full_attention"] * 2}, NativeEngine),
        (
            "qwen3_moe", {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["full_attention"] * 2},
            NativeEngine
        ),
        ("olmoe", {"clip_qkv": 0.5}, NativeEngine),
        (
            "llama",
            {"attention_bias": True, "rope_parameters": {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.0}},
            NativeEngine
        ),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 50.0, "factor": 2.0}}, PlainEngine),
        (
            "deepseek_v2", {"topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1, "q_lora_rank": None},
            NativeEngine
        ),
        ("deepseek_v3", {"rope_interleave": False}, NativeEngine),
        ("dbrx", {}, PlainEngine),
    ],
)
def test_the_chosen_engine_is_right_for_the_model(
    tiny: Tiny, family: str, changed: dict[str, Any], engine: type
) -> None:
    model = tiny(family, **changed)
    chosen = engine_for(model, Tokenizer())
    assert type(chosen) is engine
    for request, group in zip(requests(), chosen.sample(requests(), SAMPLING), strict=True):
        for one in group:
            expected = full_forward(model, request.prompt, one.ids, 1.0)
            assert torch.allclose(torch.tensor(one.logprobs), expected, atol=1e-4)


def test_the_plain_way_is_told_with_its_reason(tiny: Tiny) -> None:
    with pytest.warns(UserWarning, match="dbrx models are not among"):
        engine_for(tiny("dbrx"), Tokenizer())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine_for(tiny("qwen3"), Tokenizer())


@pytest.mark.parametrize("family", ["mamba", "rwkv"])
def test_what_keeps_a_state_of_its_own_is_refused_in_one_line(family: str) -> None:
    config = AutoConfig.for_model(family, vocab_size=48, hidden_size=16, num_hidden_layers=2, state_size=4)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(FamilyError, match=f"{family} models keep a state of their own"):
        engine_for(model, Tokenizer())


@pytest.mark.parametrize(("family", "adapted"), [("jamba", False), ("gpt_oss", False), ("llama", True)])
def test_the_head_reads_no_prompt(tiny: Tiny, family: str, adapted: bool) -> None:
    model, read = tiny(family), set()
    model.get_output_embeddings().register_forward_hook(lambda _, given, __: read.add(given[0].shape[1]))
    plain(lora.add(model, lora.Lora(rank=2), seed=0) if adapted else model).sample(requests(), SAMPLING)
    assert read == {1}


def test_recurrent_gemma_still_gives_no_cache_back() -> None:
    """Where this fails, `_WITHOUT_CACHE` is needed no more."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(
        "recurrent_gemma", vocab_size=48, hidden_size=32, num_hidden_layers=3, intermediate_size=48, lru_width=32,
        num_attention_heads=4, num_key_value_heads=1
    ))
    assert "past_key_values" not in model(torch.tensor([[5, 6]]), use_cache=True)
    with pytest.raises(FamilyError, match="recurrent_gemma models keep a state of their own"):
        engine_for(model, Tokenizer())


def minimax() -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(
        "minimax", vocab_size=64, hidden_size=32, num_hidden_layers=2, intermediate_size=32, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_local_experts=4, num_experts_per_tok=2, initializer_range=0.3,
        layer_types=["linear_attention", "full_attention"],
    )).eval()


def test_transformers_still_goes_on_wrongly_behind_padding_in_a_minimax() -> None:
    """Where this fails, `UNPADDED` is needed no more."""
    model, prompt = minimax(), torch.tensor([[5, 6, 7, 8]])
    padded = torch.cat([torch.full((1, 3), 1), prompt], dim=1)
    alone, behind = (
        model.generate(ids, attention_mask=mask, max_new_tokens=2, do_sample=False, eos_token_id=None, pad_token_id=1,
                       output_logits=True, return_dict_in_generate=True)
        for ids, mask in ((prompt, torch.ones_like(prompt)), (padded, torch.tensor([[0, 0, 0, 1, 1, 1, 1]])))
    )
    first, second = ((one - other).abs().max() for one, other in zip(alone.logits, behind.logits, strict=True))
    assert first < 1e-4
    assert second > 1e-3


def test_prompts_of_several_lengths_are_not_padded_where_that_goes_wrong() -> None:
    model, asked = minimax(), requests(each=2)
    for request, group in zip(asked, plain(model).sample(asked, SAMPLING), strict=True):
        for one in group:
            expected = full_forward(model, request.prompt, one.ids, 1.0)
            assert torch.allclose(torch.tensor(one.logprobs), expected, atol=1e-3)
