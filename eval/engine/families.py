"""The families of transformers that the native engine computes itself, and what it needs to know of each."""

from dataclasses import dataclass
from typing import Any, Literal  # a config of transformers, whose fields differ by family

from eval.engine.attention import CachedAttention, GroupedQueryAttention
from eval.engine.latent import LatentAttention


@dataclass(frozen=True)
class Family:
    """How a family attends, under which name its mixture of experts keeps the router, and which layers its `windowed`
    are: a config may have `sliding_window` or `layer_types` of another family, which this one does not read."""

    attention: type[CachedAttention] = GroupedQueryAttention
    router: str = "gate"
    windowed: Literal["none", "all", "by_layer"] = "none"


FAMILIES = {
    "deepseek_v2": Family(LatentAttention),
    "deepseek_v3": Family(LatentAttention),
    "gpt_oss": Family(router="router", windowed="by_layer"),
    "llama": Family(),
    "mistral": Family(windowed="all"),
    "mixtral": Family(windowed="all"),
    "olmoe": Family(),
    "qwen2": Family(windowed="by_layer"),
    "qwen2_moe": Family(windowed="by_layer"),
    "qwen3": Family(windowed="by_layer"),
    "qwen3_moe": Family(windowed="all"),
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
    windowed = FAMILIES[config.model_type].windowed
    if windowed == "none":
        return [None] * config.num_hidden_layers
    window = config.sliding_window or None
    if windowed == "all":
        return [window] * config.num_hidden_layers
    return [window if kind == "sliding_attention" else None for kind in config.layer_types]
