"""The families that llama.cpp has, too: what it calls them and their tensors, and what it cannot compute of them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval.language_model import LanguageModel
from pipeline.contract.errors import CommandError
from pipeline.disk.durable import JsonMapping
from pipeline.serving import weights
from rewards.lazy import lazy
from rewards.registry import did_you_mean

with lazy:
    import gguf
    import torch

if TYPE_CHECKING:
    import gguf
    import torch

Complaint = str | None


@dataclass(frozen=True)
class Family:
    """A `model_type` of transformers as llama.cpp has it.

    `architecture` is llama.cpp's name. `pairs` says that it turns neighbouring numbers of queries and keys together
    where transformers turns those half a head apart, so that rows have to be put into another order. `latent` says that
    keys and values come from a latent vector (DeepSeek), whose projection llama.cpp keeps in two parts. `refuses` tells
    what of a config llama.cpp has no words for; nothing where it has them all.
    """

    architecture: str
    pairs: bool = False
    latent: bool = False
    refuses: Callable[[JsonMapping], Complaint] = lambda _: None


_LATENT_EPS = 1e-6  # what transformers has in the norms of DeepSeek's latent vectors, whatever the config says


def _unbiased(config: JsonMapping) -> Complaint:
    if config["attention_bias"]:
        return "llama.cpp has no biases in this family's attention, and attention_bias is true here"
    return None


def _sparse_layers(config: JsonMapping) -> Complaint:
    if not config["norm_topk_prob"]:
        return "llama.cpp makes the weights of a token's experts sum to one, and norm_topk_prob is false here"
    if config["decoder_sparse_step"] != 1 or config["mlp_only_layers"]:
        return "llama.cpp has experts in every layer of this family, and some layers are dense here"
    return _unbiased(config)


def _latent(config: JsonMapping) -> Complaint:
    if config["q_lora_rank"] is None:
        return "llama.cpp makes this family's queries from a latent vector, and q_lora_rank is null here"
    if config["rope_parameters"]["rope_type"] != "default":
        return "of this family only positions that are not scaled are written"
    if not config["rope_interleave"]:
        return "llama.cpp turns neighbouring numbers of this family together, and rope_interleave is false here"
    if config["rms_norm_eps"] != _LATENT_EPS:
        return (f"llama.cpp has one epsilon for all norms, transformers {_LATENT_EPS} for those of the latent vectors, "
                f"and rms_norm_eps is {config['rms_norm_eps']} here")
    return _unbiased(config)


FAMILIES = {
    "llama": Family("llama", pairs=True),
    "mistral": Family("llama", pairs=True),
    "mixtral": Family("llama", pairs=True),
    "qwen2": Family("qwen2"),
    "qwen3": Family("qwen3", refuses=_unbiased),
    "qwen3_moe": Family("qwen3moe", refuses=_sparse_layers),
    "deepseek_v3": Family("deepseek2", latent=True, refuses=_latent),
}


def family_of(model: LanguageModel) -> Family:
    """Raises CommandError for what llama.cpp cannot run as it is."""
    config = model.config.to_dict()
    kind = config["model_type"]
    if kind not in FAMILIES:
        hint = did_you_mean(kind, FAMILIES)
        raise CommandError(f"a GGUF file cannot be written of the family {kind}{hint}; it can of {', '.join(FAMILIES)}")
    complaint = _refused(config) or FAMILIES[kind].refuses(config)
    if complaint:
        raise CommandError(f"{complaint}{'' if weights.passed_over(config) else '; export it --to vllm instead'}")
    return FAMILIES[kind]


def _refused(config: JsonMapping) -> Complaint:
    """What llama.cpp lacks, whatever the family."""
    if config["hidden_act"] != "silu":
        return f"llama.cpp computes these families with silu, and hidden_act is {config['hidden_act']} here"
    window, layers = config.get("sliding_window"), config.get("layer_types") or ()
    # Families that do not ask which layers have the window (Mistral, Qwen3-MoE) have it in all of them.
    if "sliding_attention" in layers or (window and not (layers and config["model_type"] in ("qwen2", "qwen3"))):
        return f"llama.cpp lets these families see the whole text, and here a window of {window} tokens is what is seen"
    if config["rope_parameters"]["rope_type"] == "llama3" and FAMILIES[config["model_type"]].architecture != "llama":
        return "llama.cpp reads Llama 3's factors of frequencies in its own family alone, and rope_type is llama3 here"
    return _positions(config["rope_parameters"])


def _positions(rope: JsonMapping) -> Complaint:
    if rope["rope_type"] not in ("default", "linear", "llama3", "yarn"):
        return f"positions that are scaled by {rope['rope_type']} are not written"
    if rope["rope_type"] != "yarn":
        return None
    if not rope.get("truncate", True):
        return "llama.cpp truncates YaRN's bounds to whole dimensions, and truncate is false here"
    if said := [field for field in ("mscale", "mscale_all_dim", "attention_factor") if rope.get(field) is not None]:
        return f"llama.cpp finds by itself how much YaRN sharpens attention, and {said[0]} is {rope[said[0]]} here"
    return None


def tensors_of(model: LanguageModel, family: Family) -> "Iterator[tuple[str, torch.Tensor]]":
    """(llama.cpp's name, tensor) of every tensor of the model, in its order. Raises CommandError for a tensor that
    llama.cpp has no name for."""
    config = model.config.to_dict()
    architecture = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[family.architecture]
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue  # llama.cpp takes the embeddings where there is no head
        for part, values in _parts(name, tensor, config, family):
            found = names.get_name(part, try_suffixes=(".weight", ".bias"))
            if found is None:
                raise CommandError(f"llama.cpp has no tensor for {name}; export the model --to vllm instead")
            yield found, values
    if (factors := _frequency_factors(config)) is not None:
        yield "rope_freqs.weight", factors


def _parts(
    name: str, tensor: "torch.Tensor", config: JsonMapping, family: Family
) -> "Iterator[tuple[str, torch.Tensor]]":
    """A tensor of transformers as the tensors that llama.cpp keeps it in, under names that gguf's own map knows."""
    inside, _, last = name.rpartition(".")
    if last == "gate_up_proj":
        half = tensor.shape[1] // 2
        yield f"{inside}.gate_proj.weight", tensor[:, :half]
        yield f"{inside}.up_proj.weight", tensor[:, half:]
    elif last == "down_proj":
        yield f"{name}.weight", tensor
    elif last == "e_score_correction_bias":
        yield f"{inside}.e_score_correction.bias", tensor
    elif family.latent and inside.endswith("kv_b_proj"):
        heads = tensor.view(config["num_attention_heads"], -1, tensor.shape[-1])
        keys, values = heads[:, : config["qk_nope_head_dim"]], heads[:, config["qk_nope_head_dim"] :]
        yield name.replace("kv_b_proj", "k_b_proj"), keys.transpose(1, 2)
        yield name.replace("kv_b_proj", "v_b_proj"), values
    elif family.pairs and inside.endswith(("q_proj", "k_proj")):
        count = config["num_attention_heads" if inside.endswith("q_proj") else "num_key_value_heads"]
        halves = tensor.view(count, 2, tensor.shape[0] // count // 2, *tensor.shape[1:])
        yield name, halves.transpose(1, 2).reshape(tensor.shape)
    else:
        yield name, tensor


def _frequency_factors(config: JsonMapping) -> "torch.Tensor | None":
    """What llama.cpp divides the frequencies of rotary positions by, where Llama 3's scaling is asked for."""
    rope = config["rope_parameters"]
    if rope["rope_type"] != "llama3":
        return None
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    slow, fast = rope["low_freq_factor"], rope["high_freq_factor"]
    powers = torch.arange(0, width, 2, dtype=torch.float32) / width
    waves = 2 * math.pi * rope["rope_theta"] ** powers
    # Short waves stay, long ones are stretched by the factor, and those between by something between.
    share = (rope["original_max_position_embeddings"] / waves - slow) / (fast - slow)
    factors: torch.Tensor = 1 / ((1 - share.clamp(0, 1)) / rope["factor"] + share.clamp(0, 1))
    return factors
