"""The families of transformers that the native engine computes itself, and what it needs to know of each."""

from dataclasses import dataclass
from typing import Any  # a config of transformers, whose fields differ by family

from eval.engine.attention import CachedAttention, GroupedQueryAttention
from eval.engine.latent import LatentAttention


@dataclass(frozen=True)
class Family:
    """How a family attends, and under which name its mixture of experts keeps the router."""

    attention: type[CachedAttention] = GroupedQueryAttention
    router: str = "gate"


FAMILIES = {
    "deepseek_v2": Family(LatentAttention),
    "deepseek_v3": Family(LatentAttention),
    "gpt_oss": Family(router="router"),
    "llama": Family(),
    "mistral": Family(),
    "mixtral": Family(),
    "olmoe": Family(),
    "qwen2": Family(),
    "qwen2_moe": Family(),
    "qwen3": Family(),
    "qwen3_moe": Family(),
}
"""By `model_type`. A test compares each with a full forward of the model."""


def why_not(config: Any) -> str | None:
    """Why a model of this config is not computed here, or None where it is."""
    if config.model_type not in FAMILIES:
        return f"{config.model_type} models are not among {', '.join(FAMILIES)}"
    fields = config.to_dict()
    rope = (fields.get("rope_parameters") or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        return f"{rope} rotary positions change as a text grows"
    # Pairs are turned as complex numbers, which must lie at even places.
    if any((fields.get(name) or 0) % 2 for name in ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim")):
        return "its ranks or head sizes are odd"
    return None


def windows(config: Any) -> list[int | None]:
    """How many tokens each layer sees, itself included; None where it sees all."""
    fields = config.to_dict()
    window, count = fields.get("sliding_window") or None, config.num_hidden_layers
    kinds = fields.get("layer_types")
    if kinds is None:
        return [window] * count
    return [window if kind == "sliding_attention" else None for kind in kinds]
