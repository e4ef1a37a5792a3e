"""A model on disk as vLLM reads it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract import processes
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.models.lora import merged_state
from pipeline.models.shards import whole_state
from pipeline.moe.balance import has_adapters
from rewards.lazy import lazy

with lazy:
    from safetensors.torch import save_file

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

HEAD, _HEAD_FILE = "lm_head.weight", "head.safetensors"
INDEX = "model.safetensors.index.json"
"""Which of several files a weight is in, as transformers writes it."""

_DEEPSEEK: JsonObject = {
    "attention_bias": (False, None), "rope_interleave": (True, None), "rms_norm_eps": (1e-6,),
    "rope_type": ("default", "yarn"),
}
_QWEN3: JsonObject = {"attention_bias": (False, None)}
_COMPUTED: Mapping[str, JsonObject] = {
    "deepseek_v2": _DEEPSEEK, "deepseek_v3": _DEEPSEEK, "qwen3": _QWEN3, "qwen3_moe": _QWEN3,
    "olmoe": {"norm_topk_prob": (False, None), "clip_qkv": (None,), "rms_norm_eps": (1e-5,)},
}
"""By family and field of the config the values that vLLM computes by, whatever stands there: DeepSeek's attention has
no biases and turns neighbouring numbers, takes every scaling of positions for YaRN, and the norms of its latents have
transformers' epsilon here and the config's there; the last projection of Qwen3's attention has no bias; OLMoE's fields
are not read. As its source says (vllm/model_executor/models/{deepseek_v2,qwen3,qwen3_moe,olmoe}.py); none was run."""

_SIGMOID: JsonObject = {"topk_method": "noaux_tc", "scoring_func": "sigmoid"}
_NOT_NORMED: JsonObject = {"norm_topk_prob": False}
_ONE_GROUP: JsonObject = {"n_group": 1, "topk_group": 1}


def write(model: LanguageModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights, with adapters added to them, config and tokenizer under `folder`; all processes call it together,
    and the first writes."""
    # Rollouts of adapters are for whole models, of which no other process has a part.
    adapted = has_adapters(model)
    state = {} if adapted else whole_state(model)
    if not processes.is_first():
        return
    state = merged_state(model) if adapted else state
    model.save_pretrained(folder, state_dict=dict(state))
    complete(folder, model, state)
    tokenizer.save_pretrained(folder)


def complete(folder: Path, model: LanguageModel, state: "Mapping[str, Tensor]") -> None:
    """Add what vLLM needs to a model of this state that transformers has saved in `folder`."""
    if model.config.tie_word_embeddings and HEAD in state:
        # Some of vLLM's models have a head of their own, whatever the config says of it (DeepSeek's), and leave it as
        # it was where nothing is sent; the others pass it over.
        head = state[HEAD].detach().cpu().clone().contiguous()
        save_file({HEAD: head}, folder / _HEAD_FILE, metadata={"format": "pt"})
        if (index := folder / INDEX).exists():
            told = json.loads(index.read_text())
            _write_json(index, {**told, "weight_map": {**told["weight_map"], HEAD: _HEAD_FILE}})
    config = folder / "config.json"
    _write_json(config, {**json.loads(config.read_text()), **asked_by_vllm(model.config)})


def asked_by_vllm(config: "PretrainedConfig") -> JsonObject:
    """What vLLM reads in a config of this family and transformers does not, since its own code knows no other way: how
    DeepSeek-V3 chooses experts, that DeepSeek-V2 does not norm their weights, and, where it chooses among all of them,
    that all are in one group."""
    if config.model_type == "deepseek_v3":
        return _SIGMOID
    if config.model_type == "deepseek_v2":
        among_all = config.to_dict().get("topk_method") in (None, "greedy")
        return {**_NOT_NORMED, **(_ONE_GROUP if among_all else {})}
    return {}


def passed_over(config: JsonMapping) -> str | None:
    """What vLLM would pass over without a word in a model of this config.json, and so compute another one; None where
    it takes all of it. A training need not ask: it scores the server's draws itself, and stops where they differ."""
    told = {**config, "rope_type": (config.get("rope_parameters") or {}).get("rope_type", "default")}
    family = config["model_type"]
    for field, taken in _COMPUTED.get(family, {}).items():
        if told.get(field) not in taken:
            return (f"{field} is {json.dumps(told.get(field))}, and vLLM's {family} computes as if it were "
                    f"{json.dumps(taken[0])}: it would compute another model without a word")
    return None


def _write_json(file: Path, content: JsonObject) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
