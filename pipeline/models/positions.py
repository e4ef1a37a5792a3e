"""Rotary positions for a longer context."""

from transformers import AutoConfig, AutoModelForCausalLM

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject
from pipeline.models.build import prepare


def rescaled(model: LanguageModel, length: int, scaling: JsonObject | None) -> LanguageModel:
    """The model's weights in a model built for `length` positions with this RoPE scaling.

    transformers derives frequencies and attention temperature when a model is built: changing the config of a built one
    does nothing, and swapping its rotary module leaves the attention's own scaling stale. Raises StageError where there
    are no such positions to scale.
    """
    config = AutoConfig.for_model(**model.config.to_dict())
    if scaling is not None and "rope_parameters" not in config.to_dict():
        raise StageError(f"scaling: {config.model_type} models have no rope_parameters to scale; leave it out")
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
