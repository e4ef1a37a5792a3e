"""The sizes of a model, counted on one that is built by transformers from its config and lies nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from eval.engine.families import FAMILIES as DRAWN
from eval.engine.families import why_not
from eval.engine.feedforward import LARGE
from eval.engine.latent import LatentAttention
from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonMapping
from pipeline.models.build import prepare
from pipeline.models.mtp.module import require_possible
from pipeline.moe.families import FAMILIES

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Shape:
    """Of a model.

    parameters   all of them; tied ones count once
    active       those that a token is multiplied by: without the embedding that it is looked up in, and of experts
                 without those that it does not take
    experts      parameters of experts, all together
    share        of the experts of a layer, those that a token takes; 1 where there are none
    layers       all of them, those with attention and those without
    hidden       the width between layers
    inner        the width within a feed-forward block, of the experts that a token takes together
    heads        query heads of a layer
    attended     these times their width, on the mean over all layers
    cached       numbers that a token leaves in the cache, over all layers; a state, which does not grow, is left out
    caches       tensors of a layer's cache: keys and values, or one of what both are made of
    copied       numbers of weights that the engine lays out anew for decoding on a CPU
    largest      numbers of the largest matrix
    vocabulary   tokens that the head gives logits of
    native       whether the native engine draws it
    stateful     whether layers hand on a state from token to token, such as Mamba's
    dtype        what its weights are in
    """

    parameters: int
    active: int
    experts: int
    share: float
    layers: int
    hidden: int
    inner: int
    heads: int
    attended: int
    cached: int
    caches: int
    copied: int
    largest: int
    vocabulary: int
    native: bool
    stateful: bool
    dtype: str

    @property
    def mixture(self) -> bool:
        return self.experts > 0

    @property
    def weights(self) -> int:
        """Bytes."""
        return self.parameters * BYTES[self.dtype]

    def touched(self, tokens: float) -> float:
        """Parameters that so many tokens, which each take experts for themselves, read together."""
        left_out = float((1 - self.share) ** max(1.0, tokens))
        return self.parameters - self.experts * left_out


def config_of(config: JsonMapping) -> PretrainedConfig:
    """transformers' config with these fields. Raises StageError."""
    fields = {name: value for name, value in config.items() if name != "model_type"}
    try:
        return AutoConfig.for_model(config["model_type"], **fields)
    except Exception as error:  # as in `without_weights`
        said = " ".join(str(error).split())[:160]
        raise StageError(f"transformers has no config of {config.get('model_type')}: {said}") from error


def without_weights(config: JsonMapping, dtype: str | None = None) -> LanguageModel:
    """A model with these fields of a transformers config, whose tensors lie nowhere (torch's meta device), in `dtype`
    or in the one that the config names. Raises StageError."""
    made = config_of(config)
    try:
        with torch.device("meta"):
            model: LanguageModel = AutoModelForCausalLM.from_config(made, dtype=getattr(torch, dtype or _dtype(config)))
    except Exception as error:  # 189 families, each with code of its own that may raise anything for odd sizes
        said = " ".join(str(error).split())[:160]
        raise StageError(f"transformers does not build a {config.get('model_type')} of these sizes: {said}") from error
    return prepare(model)


def shape_of(config: JsonMapping, dtype: str | None = None) -> Shape:
    """The sizes of a model with these fields of a config, in `dtype` or in the one that it names. Raises
    StageError."""
    model = without_weights(config, dtype)
    found = model.config.get_text_config()
    fields = found.to_dict()
    family = FAMILIES.get(model.config.model_type)
    names = dict(model.named_parameters())
    experts = {name: one.numel() for name, one in names.items() if family and ".experts." in name}
    # A router has a row for each expert, whatever its family calls it in its config.
    counts = [one.shape[0] for name, one in names.items() if family and f".{family.router}." in name and one.ndim == 2]
    share = float(family.top_k(found)) / counts[0] if family and counts else 1.0
    embedding, head = _weight(model.get_input_embeddings()), _weight(model.get_output_embeddings())
    every = sum(one.numel() for one in names.values())
    looked_up = 0 if embedding is head else embedding.numel()
    heads = fields.get("num_attention_heads") or fields.get("n_head") or fields.get("n_heads") or 1
    hidden = int(found.hidden_size)
    native = why_not(model.config) is None
    layers = int(found.num_hidden_layers)
    attending = layers - _kinds(found).count("linear_attention")
    return Shape(
        parameters=every,
        active=every - looked_up - round(sum(experts.values()) * (1 - share)),
        experts=sum(experts.values()),
        share=share,
        layers=layers,
        hidden=hidden,
        inner=_inner(fields, hidden),
        heads=heads,
        attended=_attended(fields, hidden, heads) * attending // layers,
        cached=attending * _entry(model.config.model_type, fields, hidden, heads, native=native),
        caches=1 if native and DRAWN[model.config.model_type].attention is LatentAttention else 2,
        copied=_copied(model, experts),
        largest=max(one.numel() for one in names.values()),
        vocabulary=int(found.vocab_size),
        native=native,
        stateful=model._is_stateful,
        dtype=dtype or _dtype(config),
    )


def module_of(config: JsonMapping, dtype: str | None = None) -> Shape:
    """The sizes of the module for multi-token prediction beside a model with these fields of a config
    (`models/mtp/module.py`): a layer like its last one, and what makes that layer's input. The model's head, by which a
    token is multiplied, too, counts among `active` alone. Raises StageError."""
    whole, model = shape_of(config, dtype), without_weights(config, dtype)
    require_possible(model.config)
    last = cast(nn.ModuleList, model.get_decoder().layers)[-1]
    names = {name: one.numel() for name, one in last.named_parameters()}
    experts = {name: count for name, count in names.items() if whole.mixture and ".experts." in name}
    joined = 2 * whole.hidden**2
    every = sum(names.values()) + joined + 3 * whole.hidden
    taken = every - round(sum(experts.values()) * (1 - whole.share))
    attending = whole.layers - _kinds(model.config.get_text_config()).count("linear_attention")
    return replace(
        whole, parameters=every, active=taken + _weight(model.get_output_embeddings()).numel(), layers=1,
        experts=sum(experts.values()), attended=whole.attended * whole.layers // max(1, attending),
        cached=whole.cached // max(1, attending), copied=_copied(last, experts) + joined,
        largest=max(joined, *names.values()),
    )


def _kinds(config: PretrainedConfig) -> list[str]:
    """What transformers calls the kinds of layers; [] of families whose layers are all of one kind."""
    return list(getattr(config, "layer_types", None) or [])  # Jamba's config works them out, and has no such field


def _weight(layer: nn.Module) -> nn.Parameter:
    return dict(layer.named_parameters(recurse=False))["weight"]


def _dtype(config: JsonMapping) -> str:
    if config.get("quantization_config"):
        return "bfloat16"  # what they are widened to
    named = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    return named if named in BYTES else "bfloat16"


def _inner(fields: Mapping[str, object], hidden: int) -> int:
    dense = next((value for name in ("intermediate_size", "ffn_hidden_size", "n_inner")
                  if isinstance(value := fields.get(name), int)), 4 * hidden)
    each, taken = fields.get("moe_intermediate_size"), fields.get("num_experts_per_tok")
    if isinstance(taken, int):
        return taken * (each if isinstance(each, int) else dense)
    return dense


def _attended(fields: Mapping[str, object], hidden: int, heads: int) -> int:
    """Heads times their width; of latent attention, whose queries and values are not as wide, on the mean of both."""
    queries, values = fields.get("qk_nope_head_dim"), fields.get("v_head_dim")
    if isinstance(queries, int) and isinstance(values, int):
        return heads * (queries + int(str(fields["qk_rope_head_dim"])) + values) // 2
    return heads * _head(fields, hidden, heads)


def _head(fields: Mapping[str, object], hidden: int, heads: int) -> int:
    given = fields.get("head_dim")
    return given if isinstance(given, int) else hidden // heads


def _entry(kind: str, fields: Mapping[str, object], hidden: int, heads: int, *, native: bool) -> int:
    """Numbers that a token leaves in a layer's cache."""
    if native and DRAWN[kind].attention is LatentAttention:
        return int(str(fields["kv_lora_rank"])) + int(str(fields["qk_rope_head_dim"]))
    groups = fields.get("num_key_value_heads")
    return 2 * (groups if isinstance(groups, int) else heads) * _head(fields, hidden, heads)


def _copied(model: LanguageModel | nn.Module, experts: Mapping[str, int]) -> int:
    """Every linear layer once, and of experts their matrices once where each has its own, else the first of the two
    twice (`eval.engine.feedforward.Experts`)."""
    linear = sum(one.weight.numel() for one in model.modules() if isinstance(one, nn.Linear))
    for name, one in model.named_parameters():
        if name in experts:
            twice = name.endswith("gate_up_proj") and one.ndim == 3 and one[0].numel() < LARGE
            linear += one.numel() * (2 if twice else 1)
    return linear


