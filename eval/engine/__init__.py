"""Rollout engines: one way to draw completions from a model, for training, sampling and evaluation alike."""

from collections.abc import Sequence
from typing import Any

from eval.engine.types import Engine


def engine_for(model: Any, tokenizer: Any, name: str = "auto", experts: Sequence[Any] = ()) -> Engine:
    """The fastest engine that is shown to be right for this model's family, or "plain", which is right for every one.

    `experts` are the experts' modules of the MoE layers whose choices are to be recorded with each rollout.
    Models with adapters go the plain way: the native engine reads some weights itself, past what adapters add to them.
    """
    from eval.engine.native import NativeEngine, fits
    from eval.engine.plain import PlainEngine

    adapted = any(".lora_" in parameter for parameter, _ in model.named_parameters())
    if name == "auto" and fits(model.config) and not adapted:
        return NativeEngine(model, tokenizer.eos_token_id, experts=experts)
    return PlainEngine(model, tokenizer.eos_token_id, tokenizer.pad_token_id, experts)
