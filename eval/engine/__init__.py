"""Rollout engines: one way to draw completions from a model, for training, sampling and evaluation alike."""

from typing import Any

from eval.engine.types import Engine


def engine_for(model: Any, tokenizer: Any, name: str = "auto") -> Engine:
    """The fastest engine that is shown to be right for this model's family, or "plain", which is right for every one.

    Models with adapters go the plain way: the native engine reads some weights itself, past what adapters add to them.
    """
    from eval.engine.families import why_not
    from eval.engine.native import NativeEngine
    from eval.engine.plain import PlainEngine
    from eval.prompts import decode_completion

    adapted = any(".lora_" in parameter for parameter, _ in model.named_parameters())
    if name == "auto" and why_not(model.config) is None and not adapted:
        return NativeEngine(model, tokenizer.eos_token_id, decode=lambda ids: decode_completion(tokenizer, ids))
    return PlainEngine(model, tokenizer.eos_token_id, tokenizer.pad_token_id)
