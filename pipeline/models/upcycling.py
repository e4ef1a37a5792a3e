"""A Mixture of Experts made of a dense model (Komatsuzaki et al. 2022, "Sparse Upcycling", arXiv 2212.05055).

Every layer's feed-forward block becomes experts that are copies of it, below a new router. With weights that add up to
one, a sum of equal copies is the block itself, so the new model's logits are the old one's whichever experts its
routers choose, and training starts where the dense model ended.

The two forms beside plain copies give the same logits at the start, too, as the paper's own do not:

`segments` cuts the block's neurons into so many narrower experts, as Qwen1.5-MoE's fine-grained experts are. The
    segments of one copy begin with the same row in the router ("virtual groups" of He et al. 2024, arXiv 2410.07524,
    section 3.2), so that a token takes all of them or none; each has a segment's share of its copy's weight, for which
    its output is multiplied by their number.
`shared` keeps a share of the neurons, or nearly so many, in an expert that every token goes through, as Qwen2-MoE's
    is. Its gate begins at zero, which halves the expert, for which its output is doubled.

Left out: upcycling every other layer only, and keeping a dense model's optimizer state (both in the paper); starting
part of each copy anew, so that they differ sooner (Qwen1.5-MoE; Nakamura et al. 2025, arXiv 2502.19261), which would
not keep the logits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, set_seed

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject
from pipeline.models.build import prepare

MIXTURES = {"llama": "mixtral", "mistral": "mixtral", "qwen3": "qwen3_moe"}
"""The mixture that each dense family becomes: it computes attention in the same way."""

WITH_SHARED = {"llama": "qwen2_moe", "qwen2": "qwen2_moe"}
"""The same, where there is a shared expert."""

_OWN = ("model_type", "architectures", "transformers_version", "dtype", "layer_types", "_name_or_path", "mlp_bias")
"""Fields of a config that are its own family's."""


@dataclass(frozen=True)
class Form:
    """What a layer becomes: `experts`, of which a token takes `top_k`; how many `segments` a copy of the block is cut
    into; what share of its neurons is `shared` by all tokens."""

    experts: int
    top_k: int
    segments: int = 1
    shared: float = 0.0


def upcycled(model: LanguageModel, form: Form, seed: int) -> LanguageModel:
    """A Mixture of Experts in the dense model's precision, which gives its logits; `seed` is of the routers' weights.

    Raises StageError where no family that Retort knows computes what the model does, or its sizes do not divide.
    """
    dense = {**model.config.to_dict(), "dtype": str(model.dtype)}
    config = AutoConfig.for_model(**config_of_mixture(dense, form))
    set_seed(seed)
    # Its weights are drawn and then replaced, all but the routers'.
    mixture: LanguageModel = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    mixture.load_state_dict(_weights(model.state_dict(), mixture.state_dict(), form, _neurons(dense, form)[0]))
    mixture.generation_config = model.generation_config
    return prepare(mixture)


def config_of_mixture(dense: JsonObject, form: Form) -> JsonObject:
    """The fields of the mixture's config, of those of the dense model's. Raises StageError as `upcycled` does."""
    family = _family(dense, form)
    return _fields(dense, family, form, *_neurons(dense, form))


def _family(dense: JsonObject, form: Form) -> str:
    """What a model with these fields of a config becomes."""
    name, families = dense["model_type"], WITH_SHARED if form.shared else MIXTURES
    if name not in families:
        asked = "with a shared expert" if form.shared else "without a shared expert"
        raise StageError(f"{name} models are not upcycled {asked}; those that are: {', '.join(families)}")
    if dense.get("attention_bias") or dense.get("mlp_bias"):
        raise StageError(f"this {name} model has biases, which {families[name]} models have not")
    # Mistral and Mixtral have one window for all layers, Qwen's dense models for some of them.
    if dense.get("sliding_window") and name != "mistral":
        raise StageError(f"this model attends within a window in some layers, which {families[name]} models do not")
    return families[name]


def _neurons(dense: JsonObject, form: Form) -> tuple[int, int]:
    """How many of the block's neurons are shared, and how many each expert has: of the shares that leave experts of a
    width that torch multiplies, in groups, the nearest to the one that is asked for."""
    every = dense["intermediate_size"]
    if form.shared and not round(every * form.shared):
        raise StageError(f"shared: {form.shared} of {every} neurons is none; take more, or leave `shared` out")
    # Rows of 16 bytes, as the checks of `architecture` have it (`models/checks/sizes.py`).
    width = form.segments * (4 if str(dense.get("dtype")).endswith("float32") else 8)
    fitting = [every - left for left in range(width, every + 1, width) if (every - left > 0) == (form.shared > 0)]
    shared = min(fitting, key=lambda one: abs(one - every * form.shared), default=every)
    if abs(shared - every * form.shared) > width / 2:
        raise StageError(f"the feed-forward blocks have {every} neurons; what is not shared cannot be cut into "
                         f"{form.segments} equal segments with a multiple of {width // form.segments} neurons each, as "
                         "experts have to have; change segments or shared")
    return shared, (every - shared) // form.segments


def _fields(dense: JsonObject, family: str, form: Form, shared: int, each: int) -> JsonObject:
    """Of the mixture's config."""
    # The fields of its own family are left, all others go with it, also those that transformers does not know.
    kept = {name: value for name, value in dense.items() if name not in _OWN}
    fields = {**kept, "model_type": family, "num_experts_per_tok": form.top_k, "output_router_logits": False}
    if family == "mixtral":
        return {**fields, "num_local_experts": form.experts, "intermediate_size": each}
    fields |= {"num_experts": form.experts, "moe_intermediate_size": each, "norm_topk_prob": True,
               "decoder_sparse_step": 1, "mlp_only_layers": []}
    if shared:
        fields |= {"shared_expert_intermediate_size": shared, "qkv_bias": dense["model_type"] == "qwen2"}
    return fields


def _weights(dense: dict[str, Tensor], mixture: dict[str, Tensor], form: Form, shared: int) -> dict[str, Tensor]:
    """The mixture's state dict, of that of the dense model and of the mixture's own, from which routers are taken."""
    found = {name: value for name, value in dense.items() if ".mlp." not in name}
    for name in (name for name in mixture if ".mlp." in name):
        block, part = name.split(".mlp.")
        gate, up, down = (dense[f"{block}.mlp.{projection}_proj.weight"] for projection in ("gate", "up", "down"))
        match part:
            case "gate.weight":  # [experts, hidden]: one row a copy, which its segments share
                found[name] = mixture[name][: form.experts // form.segments].repeat_interleave(form.segments, dim=0)
            case "experts.gate_up_proj":  # [experts, 2 * inner, hidden]
                segments = torch.cat([_cut(gate[shared:], form), _cut(up[shared:], form)], dim=1)
                found[name] = segments.repeat(form.experts // form.segments, 1, 1)
            case "experts.down_proj":  # [experts, hidden, inner]
                segments = _cut(down[:, shared:].t(), form).transpose(1, 2) * form.segments
                found[name] = segments.repeat(form.experts // form.segments, 1, 1)
            case "shared_expert.gate_proj.weight":
                found[name] = gate[:shared]
            case "shared_expert.up_proj.weight":
                found[name] = up[:shared]
            case "shared_expert.down_proj.weight":
                found[name] = 2 * down[:, :shared]
            case "shared_expert_gate.weight":
                found[name] = torch.zeros_like(mixture[name])
    return found


def _cut(neurons: Tensor, form: Form) -> Tensor:
    """Neurons [all, hidden] as segments [segments, inner, hidden]."""
    return neurons.reshape(form.segments, -1, neurons.shape[1])


@torch.no_grad()
def largest_difference(model: LanguageModel, other: LanguageModel, ids: Tensor) -> tuple[float, float]:
    """The largest difference of two models' logits for the tokens ids [batch, seq], both in evaluation mode, and the
    largest logit of the first, by which it is judged."""
    logits = model.eval()(input_ids=ids).logits
    difference = logits - other.eval()(input_ids=ids).logits
    return float(difference.abs().max()), float(logits.abs().max())
