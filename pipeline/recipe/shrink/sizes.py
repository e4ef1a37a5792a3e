"""The config of a small model of a family, made of a large one's."""

import math
from collections.abc import Mapping

from pipeline.disk.durable import JsonMapping, JsonObject

MOST = {
    "hidden_size": 64, "d_model": 64, "intermediate_size": 128, "ffn_hidden_size": 128, "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32, "num_hidden_layers": 2, "n_layers": 2, "num_attention_heads": 4,
    "n_heads": 4, "head_dim": 16, "num_experts": 8, "num_local_experts": 8, "n_routed_experts": 8, "moe_num_experts": 8,
    "num_experts_per_tok": 2, "moe_top_k": 2, "n_group": 1, "topk_group": 1, "n_shared_experts": 1, "kv_lora_rank": 32,
    "q_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16, "sliding_window": 64,
    "first_k_dense_replace": 1, "max_window_layers": 2, "num_nextn_predict_layers": 0,
    # Kinds of layers that come in turns: Jamba's attention is in every eighth, Qwen3-Next's in every fourth.
    "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
    "full_attention_interval": 2, "decoder_sparse_step": 2,
}
"""Fields of configs that are at most these, under the names that families have for them. Positions stay: how a context
is extended is a part of what a recipe says."""


def small(fields: JsonMapping) -> JsonObject:
    """The fields of a config with sizes of at most `MOST`; a list with an entry for each layer is cut."""
    layers = fields.get("num_hidden_layers")
    few = min(layers, MOST["num_hidden_layers"]) if isinstance(layers, int) else 0
    made: JsonObject = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            made[name] = small(value)
        elif name in ("num_key_value_heads", "kv_n_heads") and isinstance(value, int):
            made[name] = min(value, 4 if value == fields.get("num_attention_heads", fields.get("n_heads")) else 2)
        elif isinstance(value, int) and name in MOST:
            made[name] = min(value, MOST[name])
        elif isinstance(value, list) and few and len(value) == layers:
            # Layers of every kind that there is room for.
            made[name] = [*dict.fromkeys(value), *value][:few]
        elif name == "block_types" and isinstance(value, list):
            made[name] = [*dict.fromkeys(value)]  # RecurrentGemma's, in turns
        elif name == "mlp_only_layers" and isinstance(value, list):
            made[name] = [layer for layer in value if layer < few]
        else:
            made[name] = value
    return made | _heads(fields, made)


def _heads(fields: JsonMapping, made: JsonMapping) -> JsonObject:
    """How many heads, where the hidden size is split over them: as many as leave each an even width, which is what can
    be rotated, where those that are given have one."""
    sizes = [fields.get("hidden_size"), fields.get("num_attention_heads"), made.get("hidden_size")]
    numbers = [size for size in sizes if isinstance(size, int) and size > 0]
    if "head_dim" in fields or len(numbers) < len(sizes):
        return {}
    whole, heads, width = numbers
    few = min(heads, MOST["num_attention_heads"])
    if whole % (2 * heads) or width % (2 * few) == 0:
        return {}
    few = next((number for number in range(few, 0, -1) if width % (2 * number) == 0), few)
    groups = made.get("num_key_value_heads")
    return {"num_attention_heads": few,
            **({"num_key_value_heads": math.gcd(groups, few)} if isinstance(groups, int) else {})}
