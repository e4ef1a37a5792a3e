"""Whether a model was made here from nothing, or given: what is a good learning rate for one would ruin the other."""

from eval.language_model import LanguageModel

MARK = "retort_from_scratch"
"""A field of config.json, which goes wherever the model goes: transformers keeps the fields that it does not know."""


def mark_from_scratch(model: LanguageModel) -> None:
    """Say in the model's config that `pretrain` made it."""
    setattr(model.config, MARK, True)


def from_scratch(model: LanguageModel) -> bool:
    """Whether the model, or the one that it was trained from, began as random numbers here."""
    return bool(model.config.to_dict().get(MARK))
