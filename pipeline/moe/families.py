"""The families of Mixtures of Experts that Retort knows: where their routers are, how they weigh, how they are
balanced."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from pipeline.moe.balancing import Balancing
from pipeline.moe.gating import CHOSEN, SIGMOID, SOFTMAX, Gating
from rewards.lazy import lazy

with lazy:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Family:
    """Where a family of transformers keeps its MoE: the `block` inside each of `layers`, and the `router` inside that
    block.

    Beside the router every block has `experts`, a module called with hidden states, chosen experts and their weights.
    `gating` and `balance` read from a model's config how logits become weights, and what its makers balanced it with.
    `grouped` says whether transformers can run all experts in one grouped multiplication, `top_k` how many a token
    takes, `groups` to how many groups of neighbouring experts, of how many, its choice is limited.
    """

    gating: "Callable[[PretrainedConfig], Gating]"
    balance: "Callable[[PretrainedConfig], Balancing]"
    block: str = "mlp"
    router: str = "gate"
    layers: str = "model.layers"
    grouped: bool = True
    top_k: "Callable[[PretrainedConfig], int]" = attrgetter("num_experts_per_tok")
    groups: "Callable[[PretrainedConfig], tuple[int, int] | None]" = lambda _: None


def _normalized(config: "PretrainedConfig") -> float | None:
    return 1.0 if config.norm_topk_prob else None


def _groups(config: "PretrainedConfig") -> tuple[int, int] | None:
    """Of both DeepSeeks: (of how many groups, how many); None where a token may take experts of all of them."""
    if config.model_type == "deepseek_v2" and config.topk_method != "group_limited_greedy":
        return None
    return (config.n_group, config.topk_group) if config.topk_group < config.n_group else None


def _load_of_config(config: "PretrainedConfig") -> Balancing:
    return Balancing(load=config.router_aux_loss_coef)


_QWEN = Family(lambda config: Gating(SOFTMAX, _normalized(config), 1.0), _load_of_config)

FAMILIES = {
    "mixtral": Family(lambda _: Gating(SOFTMAX, 1.0, 1.0), _load_of_config),
    "qwen2_moe": _QWEN,
    "qwen3_moe": _QWEN,  # with decoder_sparse_step k also OpenMoE's style: a MoE layer every k-th layer
    "olmoe": _QWEN,
    "deepseek_v2": Family(
        lambda config: Gating(SOFTMAX, None, config.routed_scaling_factor),
        # V2-Lite's; the losses by device need the number of devices, which no config has
        lambda _: Balancing(sequence=1e-3),
        groups=_groups,
    ),
    "deepseek_v3": Family(
        lambda config: Gating(SIGMOID, _normalized(config), config.routed_scaling_factor),
        lambda _: Balancing(bias_speed=1e-3, sequence=1e-4),  # arXiv 2412.19437, section 4.2
        groups=_groups,
    ),
    "gpt_oss": Family(
        lambda _: Gating(CHOSEN, None, 1.0),
        lambda _: Balancing(load=1e-3),  # its config says 0.9, at which balance would outweigh what is learned
        router="router",
    ),
    "dbrx": Family(
        lambda config: Gating(SOFTMAX, config.ffn_config.moe_normalize_expert_weights, 1.0),
        lambda config: Balancing(load=config.ffn_config.moe_loss_weight),
        block="ffn",
        router="router",
        layers="transformer.blocks",
        grouped=False,
        top_k=attrgetter("ffn_config.moe_top_k"),
    ),
    # Mamba's layers and layers of attention, some of either with experts; of its 16 a token takes two
    "jamba": Family(
        lambda _: Gating(SOFTMAX, None, 1.0), _load_of_config, block="feed_forward", router="router"
    ),
}
"""By `model_type`. Switch itself is left out: it is an encoder and decoder, which no stage trains."""
