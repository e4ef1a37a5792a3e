"""What `faults` lets pass, transformers builds and trains; what it refuses is named with its place."""

import copy
import random
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.contract.errors import StageError
from pipeline.models.build import build
from pipeline.models.checks.architecture import faults
from tests.conftest import TINY

TOKENS = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")
LATENT = {key: value for key, value in TINY["deepseek_v3"].items() if key not in TOKENS}


def changed(base: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(base), **fields}


def family(name: str) -> dict[str, Any]:
    return {key: value for key, value in TINY[name].items() if key not in TOKENS}


@pytest.mark.parametrize("name", TINY)
def test_the_families_are_right(name: str) -> None:
    assert faults(family(name)) == []


@pytest.mark.parametrize(("fields", "where", "said"), [
    ({"n_routed_expert": 8}, "n_routed_expert", "no such field; did you mean 'n_routed_experts'?"),
    ({"temperature": 1.0}, "temperature", "no such field"),
    ({"model_type": "deepsek_v3"}, "model_type", "unknown to transformers; did you mean 'deepseek_v3'?"),
    ({"model_type": "vit"}, "model_type", "has no causal language model"),
    ({"model_type": 3}, "model_type", "unknown"),
    ({"hidden_size": -32}, "hidden_size", "at least 1"),
    ({"hidden_size": 10**9}, "hidden_size", "at most 16,777,216"),
    ({"hidden_size": 32.0}, "hidden_size", "a whole number, not 32.0"),
    ({"hidden_size": True}, "hidden_size", "a whole number, not True"),
    ({"hidden_size": None}, "hidden_size", "leave it out"),
    ({"hidden_size": 30}, "hidden_size", "does not divide by 4"),
    ({"routed_scaling_factor": 1}, "routed_scaling_factor", "write 1.0"),
    ({"num_hidden_layers": 10**6}, "num_hidden_layers", "at most 2,000"),
    ({"num_experts_per_tok": 9}, "num_experts_per_tok", "a token cannot take 9 of 4 experts"),
    ({"num_local_experts": 1}, "num_local_experts", "is another name of n_routed_experts"),
    ({"n_group": 3}, "n_group", "4 experts do not split into 3 groups"),
    ({"topk_group": 2}, "topk_group", "more than n_group"),
    ({"n_group": 4, "topk_group": 1, "num_experts_per_tok": 2}, "topk_group", "a token cannot take 2 of the 1 experts"),
    ({"n_group": None}, "n_group", "leave it out"),
    ({"qk_rope_head_dim": 7}, "qk_rope_head_dim", "even number"),
    ({"first_k_dense_replace": 2}, "first_k_dense_replace", "leaves none of 2 layers to experts"),
    ({"hidden_act": "sillu"}, "hidden_act", "no activation 'sillu'; did you mean 'silu'?"),
    ({"attention_dropout": 1.5}, "attention_dropout", "at most 1"),
    ({"initializer_range": -0.1}, "initializer_range", "at least 0"),
    ({"dtype": "float17"}, "dtype", "float32 or bfloat16"),
    ({"eos_token_id": 3}, "eos_token_id", "the tokenizer's"),
    ({"vocab_size": 9}, "vocab_size", "leave it out"),
    ({"rope_parameters": {"rope_type": "yran"}}, "rope_parameters.rope_type", "did you mean 'yarn'?"),
    ({"rope_parameters": "yarn"}, "rope_parameters", "a block"),
    ({"rope_scaling": {"rope_type": "yran"}}, "rope_scaling.rope_type", "did you mean 'yarn'?"),
    ({"hidden_size": 2**20, "intermediate_size": 2**20, "num_hidden_layers": 2000}, "", "parameters"),
])
def test_what_is_wrong_is_named_with_its_place(fields: dict[str, Any], where: str, said: str) -> None:
    [(place, message)] = faults(changed(LATENT, **fields))
    assert ".".join(map(str, place)) == where
    assert said in message


@pytest.mark.parametrize(("name", "fields", "where", "said"), [
    ("qwen3", {"num_key_value_heads": 3}, "num_key_value_heads", "4 attention heads do not split into 3"),
    ("qwen3_moe", {"head_dim": "x"}, "head_dim", "a whole number"),
    ("qwen3_moe", {"decoder_sparse_step": 3}, "decoder_sparse_step", "none has"),
    ("llama", {"num_attention_heads": 6}, "num_attention_heads", "hidden_size 32 does not split into 6 heads"),
    ("gpt_oss", {"layer_types": ["full_attention"]}, "layer_types", "names 1 layers"),
    ("mistral", {"sliding_window": 0}, "sliding_window", "at least 1"),
    ("deepseek_v2", {"num_key_value_heads": 1}, "num_key_value_heads", "latent attention has no groups"),
    ("deepseek_v2", {"topk_method": "misspelt"}, "topk_method", "greedy"),
    ("dbrx", {"tie_word_embeddings": True}, "tie_word_embeddings", "write tie_word_embeddings: false"),
    ("dbrx", {"attn_config": {"rope_theta": 50.0, "clip_qkv": 8.0, "kv_n_heads": 3}}, "attn_config.kv_n_heads",
     "do not split into 3"),
    ("dbrx", {"ffn_config": {"moe_top_k": 5, "moe_num_experts": 4}}, "ffn_config.moe_top_k",
     "a token cannot take 5 of 4 experts"),
    ("dbrx", {"ffn_config": {"moe_num_expert": 4}}, "ffn_config.moe_num_expert", "did you mean 'moe_num_experts'?"),
])
def test_families_have_sizes_of_their_own(name: str, fields: dict[str, Any], where: str, said: str) -> None:
    [(place, message)] = faults(changed(family(name), **fields))
    assert ".".join(map(str, place)) == where
    assert said in message


def test_a_default_that_does_not_fit_is_told() -> None:
    """Qwen3 has 32 key-value heads where nothing is said, and a small model few heads."""
    [(_, message)] = faults({"model_type": "qwen3", "num_attention_heads": 4, "hidden_size": 32})
    assert message == "4 attention heads do not split into 32 num_key_value_heads"


def test_other_spellings_and_blocks_by_layer_are_taken() -> None:
    spelt = {key: value for key, value in LATENT.items() if key != "n_routed_experts"}
    both = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 50.0}
    assert faults(changed(spelt, num_local_experts=8, rope_scaling=both)) == []
    layers = {"sliding_attention": both, "full_attention": {"rope_type": "default"}}
    assert faults(changed(family("gpt_oss"), rope_parameters=layers)) == []


def mutants(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value, None, 3, "x"]
    if isinstance(value, int):
        near = [0, 1, 2, 3, value + 1, value * 2, value * 3]
        return [-value if value else -1, *near, None, "x", True, value + 0.5, [value]]
    if isinstance(value, float):
        return [-value, 0.0, 1, 1e5, None, "x", True]
    if isinstance(value, str):
        return ["misspelt", None, 3]
    return [[], None, "x", 3] if isinstance(value, list) else [{}, None, 3, "x"]


def fields_of(block: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for key, value in block.items():
        yield (*above, key), value
        if isinstance(value, dict):
            yield from fields_of(value, (*above, key))


def mutated() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of every family's tiny model, changed one at a time."""
    for name in TINY:
        for path, value in fields_of(family(name)):
            for mutant in mutants(value) if path != ("model_type",) else []:
                architecture = copy.deepcopy(family(name))
                block = architecture
                for key in path[:-1]:
                    block = block[key]
                block[path[-1]] = mutant
                yield f"{name}.{'.'.join(path)}: {mutant!r}", architecture


def trains(architecture: dict[str, Any]) -> str | None:
    """What a step of training and a greedy continuation raise, or None."""
    import torch

    torch.set_num_threads(1)
    ids = torch.randint(10, 150, (2, 12), generator=torch.Generator().manual_seed(0))
    try:
        model = build({"max_position_embeddings": 64, **architecture}, 150, 0).train()
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, use_cache=False).loss
        loss.backward()
        model.eval().generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, do_sample=False)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None if torch.isfinite(loss) else "the loss is not finite"


@pytest.mark.parametrize(
    "share", [pytest.param(40, id="a sample"), pytest.param(None, id="all", marks=pytest.mark.faults)]
)
def test_what_passes_is_built_and_trained(share: int | None) -> None:
    passing = [(told, architecture) for told, architecture in mutated() if not faults(copy.deepcopy(architecture))]
    if share is not None:
        passing = random.Random(0).sample(passing, share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [(told, said) for told, architecture in passing if (said := trains(architecture))] == []


def test_what_transformers_alone_refuses_is_one_line() -> None:
    with pytest.raises(StageError, match="transformers does not build this architecture") as caught:
        build(changed(LATENT, hidden_size=-32), 150, 0)
    assert "\n" not in str(caught.value)
    with pytest.raises(StageError, match="below the tokenizer's 150"):
        build(changed(LATENT, vocab_size=9), 150, 0)
