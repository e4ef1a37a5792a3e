"""A tokenizer and a model that come from outside, made fit for each other: padding, ends, and the vocabulary's size."""

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import StageError

_PADS = ("<|finetune_right_pad_id|>", "<pad>", "<|pad|>", "[PAD]", "<|PAD_TOKEN|>", "<|endoftext|>", "<|end_of_text|>")
"""Tokens that families reserve for padding, or whose makers pad with them (Qwen's <|endoftext|>)."""


def settle(tokenizer: Tokenizer, name: str) -> list[str]:
    """Gives the tokenizer a padding token where it has none; what was done is returned, a phrase each.

    Padding is masked everywhere, so that any token will do; one that does not end texts is taken where there is one.
    Raises StageError where the tokenizer ends no text.
    """
    if tokenizer.eos_token_id is None:
        raise StageError(f"{name}: its tokenizer has no end-of-text token; set eos_token in tokenizer_config.json")
    said: list[str] = []
    if tokenizer.pad_token_id is None:
        unknown = (None, tokenizer.unk_token_id)
        known = [token for token in _PADS if tokenizer.convert_tokens_to_ids(token) not in unknown]
        tokenizer.pad_token = known[0] if known else tokenizer.eos_token
        said.append(f"no padding token, so {tokenizer.pad_token} pads")
    return said


def ids(tokenizer: Tokenizer) -> dict[str, int | None]:
    """The ids of the special tokens, as a transformers config has them."""
    return {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id}


def held(tokenizer: Tokenizer, model: LanguageModel, name: str) -> list[str]:
    """Holds the vocabularies of both against each other; what is odd about them is returned, a phrase each. Raises
    StageError where the tokenizer knows tokens that the model has no embedding of."""
    said = []
    rows = model.get_input_embeddings().get_parameter("weight").shape[0]
    beyond = [token for token, place in tokenizer.get_vocab().items() if place >= rows]
    # Gemma 3's text models lack the row of one token that stands for pictures.
    unusable = [token for token in beyond if token not in tokenizer.all_special_tokens]
    if unusable:
        raise StageError(f"{name}: its tokenizer knows {len(tokenizer):,} tokens and the model {rows:,}: "
                         f"{unusable[0]!r} has no embedding; give the tokenizer that belongs to the model")
    if beyond:
        said.append(f"no embedding of {', '.join(sorted(beyond)[:3])}")
    if rows > len(tokenizer):
        said.append(f"{rows - len(tokenizer):,} embeddings without a token")
    return said
