"""Sizes of an architecture that have to fit each other: heads, experts, layers, and the widths of multiplications."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.disk.durable import JsonMapping
from pipeline.models.checks import config_source
from pipeline.models.checks.config_source import ConfigClass
from pipeline.models.checks.faults import Fault
from pipeline.moe.balancing import Balancing
from pipeline.moe.families import FAMILIES

MOST_PARAMETERS = 1e13
"""Ten times what the largest open models have."""


@dataclass(frozen=True)
class _Sizes:
    """The values that a config would have: those that are given, and the defaults of its class."""

    config: ConfigClass
    fields: JsonMapping

    def size(self, *names: str) -> int | None:
        """The first of these names that the config has a whole number above 0 for."""
        for name in names:
            own = self.config.own(name)
            # Qwen3-MoE's class has `num_experts`, and keeps and saves it as `num_local_experts`.
            kept = self.config.aliases.get(own, own)
            given = [value for key, value in self.fields.items() if self.config.own(key) == own or key == kept]
            value = given[0] if given else self.config.fields[own].default if own in self.config.fields else None
            # Some classes say 0 or -1 where they mean that there is none.
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        return None

    def given(self, *names: str) -> str:
        """The first of these names that the recipe writes, in its spelling; the first of all where it writes none."""
        written = {self.config.own(key): key for key in self.fields}
        return next((written[own] for name in names if (own := self.config.own(name)) in written), names[0])


def size_faults(kind: str, config: ConfigClass, fields: JsonMapping) -> Iterator[Fault]:
    """Sizes that do not fit each other. A default counts, too: transformers' are those of a full-size model."""
    sizes = _Sizes(config, fields)
    yield from _of_heads(sizes)
    yield from _of_experts(sizes)
    yield from _of_layers(sizes)
    yield from _of_multiplication(kind, sizes)
    if kind == "dbrx":
        yield from _of_dbrx(sizes)
    for name, block in config.inner.items():
        given = fields.get(name)
        if isinstance(given, Mapping):
            yield from (((name, *where), said) for where, said in size_faults(f"{kind}.{name}", block, given))
    if (count := _parameters(sizes)) > MOST_PARAMETERS:
        yield (), f"makes a model of about {count:.1e} parameters; at most {MOST_PARAMETERS:.0e} can be asked for"
    # DBRX's config says so in code of its own, and ours would tie them.
    if "if self.tie_word_embeddings" in config.source and fields.get("tie_word_embeddings", True):
        yield ("tie_word_embeddings",), f"{kind} ties no embeddings; write tie_word_embeddings: false"


def balance_fault(architecture: JsonMapping, balancing: Balancing) -> str | None:
    """Why a model of this architecture, a new one or one with this config, cannot be balanced so; None where it can, or
    where nothing is known. `moe.balance` says the same of a model once it is loaded."""
    kind, explicit = str(architecture.get("model_type")), balancing.wanted()
    config = config_source.config_class(kind)
    if not explicit or config is None:
        return None
    # DBRX's experts stand in a block of their own.
    inner = architecture.get("ffn_config")
    fields = {**architecture, **(inner if isinstance(inner, Mapping) else {})}
    sizes = _Sizes(config, {key: value for key, value in fields.items() if key != "model_type"})
    if kind not in FAMILIES:
        return _unknown(kind, explicit[0], has_experts=sizes.size(*_EXPERTS) is not None)
    experts, chosen = sizes.size(*_EXPERTS), sizes.size(*_CHOSEN)
    idle = [name for name in explicit if name not in ("importance", "z")]
    if experts is not None and chosen == experts and idle:
        return f"balance.{idle[0]}: every token takes all {experts} experts of this model; leave it out"
    if experts is not None and balancing.devices and experts % balancing.devices:
        return f"balance.devices: {experts} experts do not split over {balancing.devices} devices"
    limited = fields.get("topk_method") == "group_limited_greedy"
    return _router_fault(kind, balancing, has_bias=config.says("e_score_correction_bias"), limited=limited)


def _unknown(kind: str, asked: str, *, has_experts: bool) -> str:
    if has_experts:
        return (f"balance.{asked}: where the routers of {kind} models are is not known; known families: "
                f"{', '.join(FAMILIES)}")
    return f"balance.{asked}: {kind} models have no experts to balance; leave it out"


def _router_fault(kind: str, balancing: Balancing, *, has_bias: bool, limited: bool) -> str | None:
    if balancing.bias_speed and not has_bias:
        return f"balance.bias_speed: {kind} routers have no selection bias to move; leave it out, or set it to 0"
    if balancing.smooth_load and (has_bias or limited):
        return f"balance.smooth_load: {kind} routers do not choose by logits alone, as it supposes; take `load`"
    return None


def _of_heads(sizes: _Sizes) -> Iterator[Fault]:
    hidden, heads = sizes.size("hidden_size"), sizes.size("num_attention_heads")
    groups, width = sizes.size("num_key_value_heads"), sizes.size("head_dim", "qk_rope_head_dim")
    if heads is None:
        return
    latent = "kv_lora_rank" in sizes.config.fields
    if groups is not None and latent and heads // groups > 1:
        yield (sizes.given("num_key_value_heads", "num_attention_heads"),), (
            f"latent attention has no groups: num_key_value_heads ({groups}) has to be num_attention_heads ({heads})"
        )
    elif groups is not None and not latent and heads % groups:
        yield (sizes.given("num_key_value_heads", "num_attention_heads"),), (
            f"{heads} attention heads do not split into {groups} num_key_value_heads"
        )
    whole = width is None or "self.hidden_size % self.num_attention_heads" in sizes.config.source
    if hidden is not None and hidden % heads and whole:
        yield (sizes.given("num_attention_heads"),), f"hidden_size {hidden} does not split into {heads} heads"
        return
    if width is None and hidden is not None:
        width = hidden // heads
    if width is not None and width % 2 and "rope_parameters" in sizes.config.fields:
        yield (sizes.given("head_dim", "qk_rope_head_dim", "num_attention_heads"),), (
            f"heads of {width} dimensions cannot be rotated: rotary positions need an even number"
        )


def _of_multiplication(kind: str, sizes: _Sizes) -> Iterator[Fault]:
    """Widths that torch's multiplications take: of experts, which are multiplied in groups, a multiple of 16 bytes."""
    family = FAMILIES.get(kind)
    if family is None or not family.grouped:
        return
    multiple = 8 if "bfloat16" in (sizes.fields.get("dtype"), sizes.fields.get("torch_dtype")) else 4
    if kind == "deepseek_v2":  # whose rotary halves are read as complex numbers, in pairs
        for name in ("kv_lora_rank", "qk_nope_head_dim"):
            if (sizes.size(name) or 0) % 2:
                yield (sizes.given(name),), "has to be even: behind it stand pairs that are rotated"
    for names in (("hidden_size",), ("moe_intermediate_size", "intermediate_size")):
        width = sizes.size(*names)
        if width is not None and width % multiple:
            yield (sizes.given(*names),), f"{width} does not divide by {multiple}, as experts' widths have to"


def _of_dbrx(sizes: _Sizes) -> Iterator[Fault]:
    """What DBRX's blocks have to say: its model reads fields of them that its config gives no value to."""
    attention = sizes.fields.get("attn_config")
    attention = attention if isinstance(attention, Mapping) else {}
    for name, such in (("rope_theta", "500000.0"), ("clip_qkv", "8.0")):
        if not isinstance(attention.get(name), int | float):
            yield ("attn_config",), f"needs {name}, such as {such}"
    heads, groups = sizes.size("n_heads"), attention.get("kv_n_heads", 1)
    if heads is not None and heads % groups:
        yield ("attn_config", "kv_n_heads"), f"{heads} attention heads do not split into {groups} kv_n_heads"


_EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "top_k_experts")


def _of_experts(sizes: _Sizes) -> Iterator[Fault]:
    experts, chosen = sizes.size(*_EXPERTS), sizes.size(*_CHOSEN)
    if experts is None:
        return
    if chosen is None and any(sizes.config.own(name) in sizes.config.fields for name in _CHOSEN):
        yield (), f"needs {next(name for name in _CHOSEN if sizes.config.own(name) in sizes.config.fields)}"
    elif chosen is not None and chosen > experts:
        yield (sizes.given(*_CHOSEN, *_EXPERTS),), f"a token cannot take {chosen} of {experts} experts"
    else:
        yield from _of_groups(sizes, experts, chosen)


def _of_groups(sizes: _Sizes, experts: int, chosen: int | None) -> Iterator[Fault]:
    groups, kept = sizes.size("n_group"), sizes.size("topk_group")
    if groups is None or kept is None:
        return
    if experts % groups:
        yield (sizes.given("n_group", *_EXPERTS),), f"{experts} experts do not split into {groups} groups (n_group)"
    elif kept > groups:
        yield (sizes.given("topk_group", "n_group"),), f"topk_group ({kept}) is more than n_group ({groups})"
    elif chosen is not None and chosen > kept * (experts // groups):
        yield (sizes.given("topk_group", "n_group"),), (
            f"a token cannot take {chosen} of the {kept * (experts // groups)} experts in {kept} of {groups} groups"
        )
    elif groups > 1 and experts // groups < 2:
        yield (sizes.given("n_group"),), "a group needs two experts at least: it is chosen by its best two"


def _of_layers(sizes: _Sizes) -> Iterator[Fault]:
    layers = sizes.size("num_hidden_layers")
    if layers is None:
        return
    for name in ("layer_types", "mlp_layer_types"):
        given = sizes.fields.get(name)
        if isinstance(given, list) and len(given) != layers:
            yield (name,), f"names {len(given)} layers, and num_hidden_layers is {layers}"
    dense, step = sizes.size("first_k_dense_replace"), sizes.size("decoder_sparse_step")
    if dense is not None and dense >= layers and sizes.size(*_EXPERTS):
        yield (sizes.given("first_k_dense_replace", "num_hidden_layers"),), (
            f"first_k_dense_replace ({dense}) leaves none of {layers} layers to experts"
        )
    elif step is not None and step > layers:
        yield (sizes.given("decoder_sparse_step"),), f"every {step}th of {layers} layers has experts: none has"


def _parameters(sizes: _Sizes) -> float:
    """Roughly how many: attention, feed-forward, experts and embeddings."""
    hidden = sizes.size("hidden_size") or 0
    experts, narrow = sizes.size(*_EXPERTS) or 0, sizes.size("moe_intermediate_size", "intermediate_size") or 0
    heads = (sizes.size("num_attention_heads") or 0) * (sizes.size("head_dim", "v_head_dim") or 0)
    wide = 3 * (sizes.size("intermediate_size") or 0) + 3 * experts * narrow + 4 * max(hidden, heads)
    vocabulary = sizes.fields.get("vocab_size", 0)
    return float((sizes.size("num_hidden_layers") or 1) * hidden * wide) + float(hidden * vocabulary)
