"""A model on disk as vLLM reads it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract import processes
from pipeline.disk.durable import JsonObject
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

_WITHOUT_BIASES = frozenset({"deepseek_v2", "deepseek_v3"})
"""Families whose attention has no biases in vLLM, whatever `attention_bias` says."""

ASKED_BY_VLLM: JsonObject = {
    "deepseek_v3": {"topk_method": "noaux_tc", "scoring_func": "sigmoid"},
}
"""What vLLM reads in a config of a family and transformers does not write, since its own code knows no other way."""


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
    _write_json(config, {**json.loads(config.read_text()), **ASKED_BY_VLLM.get(model.config.model_type, {})})


def passed_over(config: "PretrainedConfig") -> str | None:
    """What vLLM would pass over without a word in a model of this config, and so compute another one; None where it
    takes all of it. A training need not ask: it scores the server's draws itself, and stops where they differ."""
    if config.model_type in _WITHOUT_BIASES and config.to_dict().get("attention_bias"):
        return (f"attention_bias is true, and vLLM's {config.model_type} has no biases in its attention: it would "
                "compute another model without a word")
    return None


def _write_json(file: Path, content: JsonObject) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
