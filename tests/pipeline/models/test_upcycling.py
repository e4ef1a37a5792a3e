"""A mixture that is made of a dense model gives the dense model's logits, in every form, after saving too."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.models.upcycling import Form, largest_difference, upcycled
from pipeline.moe.routers import Routing, routers

SIZES = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "eos_token_id": [3, 5]}
COPIES, SEGMENTS, SHARED, BOTH = Form(4, 2), Form(6, 4, segments=2), Form(4, 2, shared=0.25), Form(6, 3, 3, 0.5)
IDS = torch.arange(60).view(3, 20) % 97


def dense(family: str, **fields: object) -> LanguageModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**SIZES, **fields}))
    with torch.no_grad():
        for parameter in model.parameters():  # biases begin at zero otherwise, and norms at one
            parameter.normal_(0.0, 0.2)
    return model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("family", "form", "mixture"), [
    ("llama", COPIES, "mixtral"),
    ("llama", SEGMENTS, "mixtral"),
    ("llama", SHARED, "qwen2_moe"),
    ("llama", BOTH, "qwen2_moe"),
    ("mistral", COPIES, "mixtral"),
    ("qwen2", SHARED, "qwen2_moe"),
    ("qwen3", COPIES, "qwen3_moe"),
    ("qwen3", SEGMENTS, "qwen3_moe"),
])
def test_it_begins_with_the_dense_models_logits(
    tmp_path: Path, family: str, form: Form, mixture: str, tied: bool
) -> None:
    model = dense(family, tie_word_embeddings=tied, sliding_window=None)
    made = upcycled(model, form, seed=1)
    assert made.config.model_type == mixture
    assert largest_difference(model, made, IDS)[0] < 1e-5
    made.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert largest_difference(model, again, IDS)[0] < 1e-5
    assert again.generation_config.eos_token_id == model.generation_config.eos_token_id
    assert again.config.tie_word_embeddings is tied


@pytest.mark.parametrize(("neurons", "form", "dtype", "shared", "each"), [
    (48, Form(4, 2, 2, 0.25), torch.float32, 16, 16),  # a quarter would leave experts of 18
    (48, Form(4, 2, shared=0.3), torch.float32, 16, 32),
    (48, Form(4, 2, shared=0.25), torch.bfloat16, 16, 32),
    (1536, Form(4, 2, shared=0.3), torch.float32, 460, 1076),
])
def test_experts_have_a_width_that_can_be_multiplied(
    neurons: int, form: Form, dtype: torch.dtype, shared: int, each: int
) -> None:
    made = upcycled(dense("llama", intermediate_size=neurons).to(dtype), form, seed=1)
    assert made.config.shared_expert_intermediate_size == shared
    assert made.config.moe_intermediate_size == each
    with torch.no_grad():
        assert bool(made(IDS).logits.isfinite().all())


def test_experts_do_not_matter_but_everything_else_does() -> None:
    """The copies are equal and nothing besides them: a changed expert changes logits, a changed router does not."""
    model = dense("llama")
    made = upcycled(model, COPIES, seed=1)
    block = made.get_submodule("model.layers.1.mlp")
    with torch.no_grad():
        dict(block.named_parameters())["gate.weight"].normal_()
        assert largest_difference(model, made, IDS)[0] < 1e-5
        dict(block.named_parameters())["experts.down_proj"][0] *= 2
    assert largest_difference(model, made, IDS)[0] > 1e-2


def test_a_token_takes_all_segments_of_a_copy() -> None:
    made = upcycled(dense("qwen3"), Form(12, 4, segments=2), seed=1)
    seen: list[Routing] = []
    for router in routers(made):
        router.watch(seen.append)
    made(input_ids=IDS)
    assert len(seen) == 2
    for routing in seen:
        copies = (routing.chosen // 2).sort(dim=1).values
        assert torch.equal(copies[:, 0::2], copies[:, 1::2])
        assert bool((copies[:, 0] != copies[:, 2]).all())


def test_seeds_draw_routers_and_nothing_else() -> None:
    model = dense("llama")
    first, again, other = (upcycled(model, COPIES, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    changed = [name for name in first if not torch.equal(first[name], other[name])]
    assert changed == [f"model.layers.{layer}.mlp.gate.weight" for layer in (0, 1)]


def test_what_is_known_of_the_dense_model_goes_with_it() -> None:
    model = dense("llama", rope_parameters={"rope_type": "default", "rope_theta": 5000.0}, retort_from_scratch=True)
    fields = upcycled(model.to(torch.bfloat16), COPIES, 0).config.to_dict()
    assert fields["retort_from_scratch"] is True
    assert fields["rope_parameters"]["rope_theta"] == 5000.0
    assert (fields["num_local_experts"], fields["num_experts_per_tok"], fields["intermediate_size"]) == (4, 2, 48)


def test_its_precision_is_the_dense_models() -> None:
    assert {tensor.dtype for tensor in upcycled(dense("llama").to(torch.bfloat16), COPIES, 0).parameters()} == {
        torch.bfloat16
    }


@pytest.mark.parametrize(("family", "fields", "form", "said"), [
    ("qwen3", {}, SHARED, "qwen3 models are not upcycled with a shared expert; those that are: llama, qwen2"),
    ("qwen2", {}, COPIES, "qwen2 models are not upcycled without a shared expert; those that are: llama, mistral, "),
    ("gpt2", {"n_embd": 32, "n_head": 4}, COPIES, "gpt2 models are not upcycled"),
    ("gpt_neox", {}, Form(10, 5, segments=5), "gpt_neox models are not upcycled"),
    ("llama", {"mlp_bias": True}, COPIES, "this llama model has biases"),
    ("qwen3", {"attention_bias": True}, COPIES, "this qwen3 model has biases"),
    ("llama", {}, Form(10, 5, segments=5), "48 neurons; what is not shared cannot be cut into 5 equal segm"),
    ("llama", {}, Form(2, 1, shared=0.999), "48 neurons; what is not shared cannot be cut into 1 equal"),
    ("llama", {}, Form(2, 1, shared=0.003), "shared: 0.003 of 48 neurons is none"),
    ("qwen2", {"use_sliding_window": True, "max_window_layers": 1}, SHARED, "attends within a window"),
    ("qwen3", {"use_sliding_window": True, "max_window_layers": 1}, COPIES, "attends within a window"),
])
def test_what_cannot_be_upcycled_is_one_line(family: str, fields: dict[str, object], form: Form, said: str) -> None:
    with pytest.raises(StageError, match=said):
        upcycled(dense(family, **fields), form, 0)
