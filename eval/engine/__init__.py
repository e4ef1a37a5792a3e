"""Rollout engines: one way to draw completions from a model, for training, sampling and evaluation alike."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eval.ends import ends_of
from eval.engine.types import Engine
from eval.errors import FamilyError
from eval.language_model import LanguageModel, Tokenizer
from rewards.lazy import lazy

with lazy:
    from eval.engine.families import why_not
    from eval.engine.native import NativeEngine
    from eval.engine.plain import PlainEngine

if TYPE_CHECKING:
    from torch import nn

    from eval.engine.decoder import Decoder
    from eval.engine.speculation.draft import Drafter
    from eval.engine.types import Sampling


_WITHOUT_CACHE = frozenset({"recurrent_gemma"})
"""Families whose forward takes a cache, and gives none back in transformers 5.23."""


def engine_for(
    model: LanguageModel, tokenizer: Tokenizer, name: str = "auto", experts: "Sequence[nn.Module]" = (),
    drafter: "Callable[[Decoder, Sampling], Drafter] | None" = None,
) -> Engine:
    """The fastest engine that is shown to be right for this model's family, or "plain", which is right for every one
    that has a cache as most have. Raises FamilyError for others: Mamba, RWKV, RecurrentGemma.

    Models with adapters go the plain way: the native engine reads weights itself, past what adapters add to them. Where
    "auto" takes the plain way, a warning says why, once a process for each reason. `experts` are the experts' modules
    of all MoE layers, in their order, where each rollout is to have the experts that it took. The native engine
    speculates with a `drafter`; on the plain way there are no drafts.
    """
    def decode(ids: list[int]) -> str:
        # With special tokens, since a text that ends an answer may be one.
        return tokenizer.decode(ids, skip_special_tokens=False)

    ends = ends_of(tokenizer, model)
    if name == "auto":
        # Adapters are known by the names that peft gives their weights; peft itself need not be loaded for it.
        adapted = any(".lora_" in parameter for parameter, _ in model.named_parameters())
        reason = "it has adapters" if adapted else why_not(model.config)
        if reason is None:
            return NativeEngine(model, ends, decode=decode, experts=experts, drafter=drafter)
        without = ", and is without the drafts of speculate" if drafter else ""
        warnings.warn(
            f"rollouts of this model go through transformers' own cache, which is slower{without}: {reason}",
            stacklevel=2,
        )
    takes = inspect.signature(type(model).forward).parameters  # type: ignore[attr-defined]
    if "past_key_values" not in takes or model.config.model_type in _WITHOUT_CACHE:
        raise FamilyError(f"{model.config.model_type} models keep a state of their own from token to token, by which "
                          "nothing here draws")
    return PlainEngine(model, ends, tokenizer.pad_token_id, decode, experts)
