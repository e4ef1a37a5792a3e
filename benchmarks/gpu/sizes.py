"""What is measured, for a GPU and, to see that the scripts work, for a processor."""

from dataclasses import dataclass
from typing import Any

import torch

from pipeline.bench.rollouts import EOS, PAD, TOYS

_QWEN3 = {
    "model_type": "qwen3", "vocab_size": 151_936, "hidden_size": 1024, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072,
    "max_position_embeddings": 4096, "pad_token_id": PAD, "bos_token_id": 2, "eos_token_id": EOS,
    "tie_word_embeddings": True,
}
"""Qwen3-0.6B's shape."""

_OLMOE = {
    "model_type": "olmoe", "vocab_size": 50_304, "hidden_size": 2048, "num_hidden_layers": 16,
    "num_attention_heads": 16, "num_key_value_heads": 16, "intermediate_size": 1024, "num_experts": 64,
    "num_experts_per_tok": 8, "norm_topk_prob": False, "max_position_embeddings": 4096, "pad_token_id": PAD,
    "bos_token_id": 2, "eos_token_id": EOS, "tie_word_embeddings": False, "router_aux_loss_coef": 0.0,
}
"""OLMoE-1B-7B's: 6.9B parameters, of which a token is multiplied by 1.2B."""

_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 512, "num_attention_heads": 4,
          "num_key_value_heads": 2, "head_dim": 8}


@dataclass(frozen=True)
class Sizes:
    """`toys` are held against the processor in fp32; `drawn` and `trained` are timed in `dtype`, of trained mixtures
    with so many layers as fit with their optimizer; `rollouts` at once, tokens of each on the `mean` and at `most`;
    SFT rows in a step."""

    device: str
    toys: dict[str, dict[str, Any]]
    drawn: dict[str, dict[str, Any]]
    trained: dict[str, dict[str, Any]]
    dtype: torch.dtype
    rollouts: tuple[int, ...]
    mean: float
    most: int
    rows: int


def toys() -> dict[str, dict[str, Any]]:
    return {name: TOYS[f"{name}_64"].architecture for name in ("dense", "qwen3_moe", "deepseek_v3")}


def of_gpu() -> Sizes:
    """Weights, gradients, fp32 copies and moments take 18 bytes a parameter: of the mixture 8 layers on 80 GB."""
    large = torch.cuda.get_device_properties(0).total_memory > 130 * 2**30
    trained = {"dense": _QWEN3, "mixture": {**_OLMOE, "num_hidden_layers": 16 if large else 8}}
    return Sizes("cuda", toys(), {"dense": _QWEN3, "mixture": _OLMOE}, trained, torch.bfloat16, (64, 256, 1024), 128.0,
                 512, 64)


def of_processor() -> Sizes:
    small = {name: {**architecture, **_SMALL} for name, architecture in toys().items()}
    small["deepseek_v3"] |= {"num_key_value_heads": 4}
    del small["deepseek_v3"]["head_dim"]  # which follows from the parts that it is made of
    few: dict[str, dict[str, Any]] = {
        "dense": {**_QWEN3, **_SMALL, "intermediate_size": 64},
        # which has no head_dim, as the large one has none
        "mixture": {**_OLMOE, **_SMALL, "intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2},
    }
    del few["mixture"]["head_dim"]
    return Sizes("cpu", small, few, few, torch.float32, (16,), 12.0, 24, 4)
