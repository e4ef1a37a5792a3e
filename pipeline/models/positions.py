"""Where tokens stand: rotary positions for a longer context, and learned ones in rows that are padded on the left."""

import inspect

from accelerate.utils import extract_model_from_parallel
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject
from pipeline.models.build import keep_buffers, prepare


def rescaled(model: LanguageModel, length: int, scaling: JsonObject | None) -> LanguageModel:
    """The model's weights in a model built for `length` positions with this RoPE scaling.

    transformers derives frequencies and attention temperature when a model is built: changing the config of a built one
    does nothing, and swapping its rotary module leaves the attention's own scaling stale. Raises StageError where there
    are no such positions to scale, or the family has no such scaling.
    """
    config = AutoConfig.for_model(**model.config.to_dict())
    text = config.get_text_config()  # a part of it, where the model reads pictures, too
    if scaling is not None and "rope_parameters" not in text.to_dict():
        raise StageError(f"scaling: {config.model_type} models have no rope_parameters to scale; leave it out")
    try:
        if scaling is not None:
            text.rope_parameters = _scaled(text.rope_parameters, scaling, text.max_position_embeddings)
        text.max_position_embeddings = length
        config.validate()  # as when it is saved, behind the training
        longer = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    except Exception as error:  # of families, each with checks of its own
        said = " ".join(str(error).split())[:160]
        raise StageError(f"a {config.model_type} of {length:,} tokens is not built with scaling {scaling}: {said}"
                         ) from error
    keep_buffers(longer, model)
    # Rotary tables are no weights: the new model made its own for the new length.
    state = model.state_dict()
    learned = [name for name, value in longer.state_dict().items() if value.shape != state[name].shape]
    if learned:
        raise StageError(f"{config.model_type} models learn a vector for each position ({learned[0]}) and have none "
                         "beyond the last one, so that they cannot be extended")
    longer.load_state_dict(state)
    longer.generation_config = model.generation_config
    return prepare(longer)


def _scaled(rope: JsonObject, scaling: JsonObject, longest: int) -> JsonObject:
    """The `rope_parameters` of a model whose recipe says `scaling`. What the recipe does not say stays as the model has
    it: the base of its frequencies, the share of a head that is turned, and the length that it was trained at before
    any scaling, which is `longest` where the model was not scaled yet.

    Of a model that has one of each kind of attention that of the full one is scaled, as Gemma 3's makers do: a window
    does not grow with the text.
    """
    if isinstance(full := rope.get("full_attention"), dict):
        return {**rope, "full_attention": _scaled(full, scaling, longest)}
    kept = ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
    known = {"original_max_position_embeddings": longest, **{name: rope[name] for name in kept if name in rope}}
    return {**known, **scaling}


def positions_of(model: LanguageModel, mask: Tensor, last: int | None = None) -> dict[str, Tensor]:
    """What a forward is told besides ids and `mask` [rows, seq], so that each row counts from its own first token: of
    all tokens, or of the `last`.

    Nothing for families that turn queries and keys by their positions, or bend attention by distance: there all that
    counts is how far tokens are apart, whatever stands before them, and sums keep their bits.
    """
    inner = extract_model_from_parallel(model)
    relative = "rope_parameters" in inner.config.get_text_config().to_dict()
    # Of the class, since trl's fused head stands before the instance's.
    if relative or "position_ids" not in inspect.signature(type(inner).forward).parameters:
        return {}
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    return {"position_ids": positions if last is None else positions[:, -last:]}
