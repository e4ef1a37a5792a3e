"""A model on disk as vLLM reads it."""

import json
from pathlib import Path

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract import processes
from pipeline.disk.durable import JsonObject
from pipeline.models.lora import merged_state
from pipeline.models.shards import whole_state
from pipeline.moe.balance import has_adapters
from rewards.lazy import lazy

with lazy:
    from safetensors.torch import save_file

HEAD = "lm_head.weight"

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
    if model.config.tie_word_embeddings and HEAD in state:
        # Some of vLLM's models have a head of their own, whatever the config says of it (DeepSeek's), and leave it as
        # it was where nothing is sent; the others pass it over.
        save_file({HEAD: state[HEAD].detach().cpu().clone().contiguous()}, folder / "head.safetensors")
    _complete_config(folder / "config.json", model.config.model_type)
    tokenizer.save_pretrained(folder)


def _complete_config(file: Path, family: str) -> None:
    config = {**json.loads(file.read_text()), **ASKED_BY_VLLM.get(family, {})}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
