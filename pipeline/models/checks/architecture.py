"""Whether transformers could build an architecture, told when the recipe is read.

transformers takes any name for a field and keeps it, checks types only when a config is made, and sizes not at all, so
that a misspelt field trains another model and a wrong size is a shape error of torch's. To build the model on the meta
device would tell all of it, but takes torch and transformers, which load for seconds, each time a recipe is planned.
What can be wrong is therefore held against the source of the config class (`config_source`): names, types, nulls,
bounds, and the sizes that have to fit each other in every family. A class that is not found there is left to
transformers, and `build` tells in one line what that refuses.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator

from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.models.checks import config_source
from pipeline.models.checks.config_source import ConfigClass
from pipeline.models.checks.faults import Fault, raise_faults
from pipeline.models.checks.rope_fields import all_rope_faults
from pipeline.models.checks.sizes import size_faults
from rewards.registry import did_you_mean

MOST_LAYERS = 2000
MOST_SIZE = 2**24
MOST_POSITIONS = 2**30
SMALLEST_VOCABULARY = 1024
"""Tokens that the tokenizer of the synthetic web stays below."""

# Sizes, of which there is at least one; other whole numbers may be 0, and these too where 0 is the default.
_SIZE = re.compile(
    r"(_(size|dim|rank|heads|embeddings|step|experts|per_tok|per_token|layers|frequency|k|top_k)"
    r"|topk_group|n_group|d_model|d_ff|max_seq_len|num_local_experts|sliding_window|chunk_size)$"
)
_ACTIVATION = re.compile(r"^(hidden_act|hidden_activation|activation|activation_function|afn|ffn_act_fn)$")
_SPECIALS = ("pad_token_id", "bos_token_id", "eos_token_id")
_PRECISIONS = ("float32", "bfloat16")
_ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


def faults(architecture: JsonMapping) -> list[Fault]:
    """What is wrong with `model_type` and fields of its transformers config, each with the keys that lead to it."""
    kind = architecture.get("model_type")
    known = sorted(config_source.causal_types())
    if kind is None:
        return [((), "has no model_type; give one that transformers knows, such as deepseek_v3")]
    if not isinstance(kind, str) or (known and kind not in known):
        known_otherwise = isinstance(kind, str) and kind in config_source.model_types()
        why = "has no causal language model" if known_otherwise else "is unknown to transformers"
        return [(("model_type",), f"{kind!r} {why}{did_you_mean(str(kind), known)}")]
    config = config_source.config_class(kind)
    if config is None:
        return []
    fields = {key: value for key, value in architecture.items() if key != "model_type"}
    found = [*_of_fields(kind, config, fields), *_of_tokens(fields)]
    # Sizes of a wrong type cannot be held against each other.
    return found or list(size_faults(kind, config, fields))


def _checked(architecture: JsonObject) -> JsonObject:
    raise_faults("architecture", faults(architecture))
    return architecture


Architecture = Annotated[JsonObject, AfterValidator(_checked)]
"""A field with `model_type` and fields of its config; what is wrong with it is told when the recipe is read."""


def _of_fields(kind: str, config: ConfigClass, fields: JsonMapping) -> Iterator[Fault]:
    for name, value in fields.items():
        own = config.own(name)
        inner = config.inner.get(own)
        if not config.knows(name):
            near = get_close_matches(name, [*config.fields, *config.aliases], n=1, cutoff=0.5)
            yield (name,), f"{kind} has no such field{f'; did you mean {near[0]!r}?' if near else ''}"
        elif own != name and own in fields:
            yield (name,), f"is another name of {own}, which is given too; leave one of them out"
        elif own in ("rope_parameters", "rope_scaling") and isinstance(value, Mapping):
            yield from (((name, *where), said) for where, said in all_rope_faults(value))
        elif inner and isinstance(value, Mapping):
            yield from (((name, *where), said) for where, said in _of_fields(own, inner, value))
        elif said := _fault_of_value(config, name, value):
            yield (name,), said


def _of_tokens(fields: JsonMapping) -> Iterator[Fault]:
    """The tokenizer is made with the model, and says which tokens there are."""
    for name in _SPECIALS:
        if name in fields:
            yield (name,), "is the tokenizer's, which pretrain makes; leave it out"
    size = fields.get("vocab_size")
    if isinstance(size, int) and size < SMALLEST_VOCABULARY:
        yield ("vocab_size",), (f"leave it out, and it is as large as the tokenizer; more than that can be had from "
                                f"{SMALLEST_VOCABULARY} on")


def _fault_of_value(config: ConfigClass, name: str, value: object) -> str | None:
    own = config.own(name)
    declared = config.fields.get(own)
    if value is None:
        typed = declared is not None and _accepts(declared.annotation, None)
        return None if typed and config.takes_null(own) else "has to have a value; leave it out for its default"
    if declared is None and _SIZE.search(own) and (isinstance(value, bool) or not isinstance(value, int)):
        return f"should be a whole number, not {value!r}"
    if declared and not _accepts(declared.annotation, value):
        return f"should be {_told(declared.annotation)}, not {value!r}{_with_point(declared.annotation, value)}"
    default = declared.default if declared else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _fault_of_number(own, value, default)
    return _fault_of_text(config, own, value) if isinstance(value, str) else None


def _fault_of_number(name: str, value: float, default: object) -> str | None:
    usual = default if isinstance(default, int | float) else 1
    least: float
    most: float
    if isinstance(value, int):
        # Families with shared experts go without them, too.
        sized = _SIZE.search(name) and usual != 0 and "shared" not in name
        least = 1 if sized and usual > 0 else min(0, usual)
        most = MOST_LAYERS if name.endswith("_layers") else MOST_POSITIONS if _is_length(name) else MOST_SIZE
    else:
        least, most = min(0.0, usual), 1e6
        if name.endswith(("_dropout", "_pdrop", "dropout_prob", "_eps")):
            most = 1.0
        elif name.endswith("_range"):
            most = 10.0
    if least <= value <= most and not (name.endswith(("_dropout", "_pdrop", "dropout_prob")) and value == 1):
        return None
    bounds = f"{least:,} and at most {most:,}" if isinstance(value, int) else f"{least:g} and at most {most:g}"
    return f"should be at least {bounds}, not {value!r}"


def _is_length(name: str) -> bool:
    return name in ("max_position_embeddings", "max_seq_len", "sliding_window", "attention_chunk_size")


def _fault_of_text(config: ConfigClass, name: str, value: str) -> str | None:
    known = sorted(config_source.names_of_activations())
    if _ACTIVATION.match(name) and known and value not in known:
        return f"there is no activation {value!r}{did_you_mean(str(value), known)}"
    if name in ("dtype", "torch_dtype") and value not in _PRECISIONS:
        return f"should be {' or '.join(_PRECISIONS)}, not {value!r}"
    if name == "attn_implementation" and value not in _ATTENTIONS:
        return f"there is no attention {value!r}{did_you_mean(str(value), _ATTENTIONS)}"
    choices = config.choices(name)
    if choices and value not in choices:
        return f"should be {' or '.join(choices)}, not {value!r}"
    return None


_TYPES = {"int": int, "float": float, "str": str, "bool": bool, "dict": dict, "list": list, "tuple": list, "set": list}


def _accepts(annotation: ast.expr, value: object) -> bool:
    """Whether transformers, which is strict here, takes a value for a field with this annotation."""
    if isinstance(annotation, ast.BinOp):
        return _accepts(annotation.left, value) or _accepts(annotation.right, value)
    if isinstance(annotation, ast.Constant):
        return value is None if annotation.value is None else True
    if isinstance(annotation, ast.Name):
        if annotation.id not in _TYPES:  # a config class or RopeParameters, both written as a block
            return annotation.id in ("Any", "object") or isinstance(value, dict)
        return isinstance(value, _TYPES[annotation.id]) and isinstance(value, bool) == (annotation.id == "bool")
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        return _accepts_inside(annotation.value.id, annotation.slice, value)
    return True


def _accepts_inside(outer: str, inside: ast.expr, value: object) -> bool:
    items = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    if outer == "Literal":
        return any(isinstance(item, ast.Constant) and item.value == value for item in items)
    if outer in ("Optional", "Union"):
        return any(_accepts(item, value) for item in items)
    if outer in ("list", "set"):
        return isinstance(value, list) and all(_accepts(inside, one) for one in value)
    return isinstance(value, _TYPES.get(outer, object))


_PLAIN = (
    ("RopeParameters | ", ""), ("dict", "a block"), ("int", "a whole number"), ("float", "a number"), ("str", "text"),
    ("bool", "true or false"), (" | None", ""), (" | ", " or "),
)


def _told(annotation: ast.expr) -> str:
    text = ast.unparse(annotation)
    for name, plain in _PLAIN:
        text = re.sub(rf"\b{name}\b" if name.isalpha() else re.escape(name), plain, text)
    return text


def _with_point(annotation: ast.expr, value: object) -> str:
    """YAML's 1 is a whole number, which a float of transformers does not take."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"; write {value}.0" if whole and _accepts(annotation, 1.0) else ""
