"""Rotary positions for a longer context, and what the model makes of each position."""

from collections.abc import Sequence

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from eval.language_model import LanguageModel, Tokenizer
from pipeline.data.rows import Collator, Row
from pipeline.disk.durable import JsonObject
from pipeline.models.build import prepare

BUCKETS = 8


def rescaled(model: LanguageModel, length: int, scaling: JsonObject | None) -> LanguageModel:
    """The model's weights in a model built for `length` positions with this RoPE scaling.

    transformers derives frequencies and attention temperature when a model is built: changing the config of a built one
    does nothing, and swapping its rotary module leaves the attention's own scaling stale.
    """
    config = AutoConfig.for_model(**model.config.to_dict())
    original = config.max_position_embeddings
    if scaling is not None:
        theta = config.rope_parameters["rope_theta"]
        # What the recipe does not say stays as the model has it.
        known = {"rope_theta": theta, "original_max_position_embeddings": original}
        config.rope_parameters = {**known, **scaling}
    config.max_position_embeddings = length
    longer = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    # Rotary tables are no weights: the new model made its own for the new length.
    longer.load_state_dict(model.state_dict())
    longer.generation_config = model.generation_config
    return prepare(longer)


def loss_by_position(
    model: LanguageModel, tokenizer: Tokenizer, rows: Sequence[Row], length: int
) -> list[float | None]:
    """Mean loss of the trained-on tokens in each of `BUCKETS` equal spans of positions up to `length`."""
    batch = {name: value.to(model.device) for name, value in Collator(tokenizer.pad_token_id)(rows).items()}
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    model.train()
    targets = batch["input_ids"][:, 1:]
    losses = -torch.log_softmax(logits[:, :-1], dim=-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    counted = batch["weights"][:, 1:] == 1.0
    spans: list[float | None] = []
    for bucket in range(BUCKETS):
        span = slice(bucket * length // BUCKETS, (bucket + 1) * length // BUCKETS)
        here = counted[:, span]
        spans.append(float(losses[:, span][here].mean()) if here.any() else None)
    return spans
