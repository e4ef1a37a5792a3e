"""A model as one GGUF file, which llama.cpp and what is built on it run."""

from pathlib import Path
from typing import TYPE_CHECKING

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import CommandError
from pipeline.disk.durable import JsonMapping
from pipeline.exports import gguf_vocabulary
from pipeline.exports.gguf_families import Family, family_of, tensors_of
from rewards.lazy import lazy

with lazy:
    import gguf
    import numpy as np
    import torch

if TYPE_CHECKING:
    import gguf
    import numpy as np
    import torch
    from numpy.typing import NDArray

TYPES = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "BF16": "MOSTLY_BF16", "Q8_0": "MOSTLY_Q8_0"}
"""How weights can be stored, with llama.cpp's name for a file of them. llama.cpp's `llama-quantize` makes smaller ones
of these."""

AS_SAVED = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

_WHOLE = ("ffn_gate_inp.weight", "_norm.weight", "rope_freqs.weight")
"""Ends of names of tensors that llama.cpp wants in F32, as all vectors, whatever the others are stored in."""


def write(model: LanguageModel, tokenizer: Tokenizer, file: Path, kind: str | None, name: str) -> None:
    """Write `file`, with weights in `kind` or in the precision that they have. Raises CommandError for what llama.cpp
    could not run."""
    kind = kind or _as_saved(model)
    family = family_of(model)
    config = model.config.to_dict()
    writer = gguf.GGUFWriter(file, family.architecture)
    _describe(writer, config, family)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType[TYPES[kind]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    gguf_vocabulary.write(writer, tokenizer, model)
    # Twice, so that no more than one tensor is held in its new form: the file has all of their sizes before the first.
    for title, tensor in tensors_of(model, family):
        stored = _stored(title, tensor, kind)
        shape, dtype = _shape(title, tuple(tensor.shape), stored)
        raw = None if stored in ("F32", "F16") else gguf.GGMLQuantizationType[stored]
        writer.add_tensor_info(title, shape, dtype, int(np.prod(shape)) * dtype.itemsize, raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for title, tensor in tensors_of(model, family):
        writer.write_tensor_data(_values(title, tensor, _stored(title, tensor, kind)))
    writer.close()


def _as_saved(model: LanguageModel) -> str:
    saved = str(model.dtype).removeprefix("torch.")
    if saved not in AS_SAVED:
        raise CommandError(f"the weights were saved in {saved}, which a GGUF file is not written in; give --type "
                           f"{', '.join(TYPES)}")
    return AS_SAVED[saved]


def _stored(title: str, tensor: "torch.Tensor", kind: str) -> str:
    return "F32" if tensor.ndim == 1 or title.endswith(_WHOLE) else kind


def _shape(title: str, shape: tuple[int, ...], stored: str) -> "tuple[tuple[int, ...], np.dtype[np.generic]]":
    """The shape of a tensor in the file, and the numbers it consists of: bytes where they come in blocks."""
    if stored in ("F32", "F16"):
        return shape, np.dtype(np.float32 if stored == "F32" else np.float16)
    kind = gguf.GGMLQuantizationType[stored]
    block = gguf.GGML_QUANT_SIZES[kind][0]
    if shape[-1] % block:
        raise CommandError(f"{stored} stores rows in blocks of {block} numbers, and those of {title} have {shape[-1]}; "
                           "give --type F16, BF16 or F32")
    return gguf.quant_shape_to_byte_shape(shape, kind), np.dtype(np.uint8)


def _values(title: str, tensor: "torch.Tensor", stored: str) -> "NDArray[np.generic]":
    whole = tensor.detach().to("cpu", torch.float32)
    if stored == "F16" and whole.abs().max() > torch.finfo(torch.float16).max:
        raise CommandError(f"{title} has numbers that F16 cannot hold; give --type BF16 or F32")
    values: NDArray[np.generic] = gguf.quants.quantize(
        whole.contiguous().numpy(), gguf.GGMLQuantizationType[stored]
    )
    return values


def _describe(writer: "gguf.GGUFWriter", config: JsonMapping, family: Family) -> None:
    """What llama.cpp has to know of the architecture, under its own names."""
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    rope = config["rope_parameters"]
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        _yarn(writer, rope)
    if family.latent:
        _latent(writer, config)
    else:
        width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_key_length(width)
        writer.add_value_length(width)
        writer.add_rope_dimension_count(width)
        experts = config.get("num_local_experts") or config.get("num_experts")
        if experts:
            writer.add_expert_count(experts)
            writer.add_expert_used_count(config["num_experts_per_tok"])
            writer.add_expert_feed_forward_length(config.get("moe_intermediate_size") or config["intermediate_size"])


def _yarn(writer: "gguf.GGUFWriter", rope: JsonMapping) -> None:
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    said = {"beta_fast": writer.add_rope_scaling_yarn_beta_fast, "beta_slow": writer.add_rope_scaling_yarn_beta_slow}
    for field, add in said.items():
        if rope.get(field) is not None:
            add(rope[field])


def _latent(writer: "gguf.GGUFWriter", config: JsonMapping) -> None:
    """DeepSeek-V3: llama.cpp attends over the latent vectors, as one head of keys and values that all queries share."""
    rotary = config["qk_rope_head_dim"]
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(rotary)
    writer.add_kv_lora_rank(config["kv_lora_rank"])
    writer.add_key_length(config["kv_lora_rank"] + rotary)
    writer.add_value_length(config["kv_lora_rank"])
    writer.add_key_length_mla(config["qk_nope_head_dim"] + rotary)
    writer.add_value_length_mla(config["v_head_dim"])
    if config["q_lora_rank"]:
        writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_leading_dense_block_count(config["first_k_dense_replace"])
    writer.add_expert_count(config["n_routed_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_shared_count(config["n_shared_experts"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_expert_group_count(config["n_group"])
    writer.add_expert_group_used_count(config["topk_group"])
    writer.add_expert_weights_scale(config["routed_scaling_factor"])
    writer.add_expert_weights_norm(config["norm_topk_prob"])
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
