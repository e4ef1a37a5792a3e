"""A tokenizer and a model that come from outside, made fit for each other: padding, ends, and the vocabulary's size."""

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import StageError

_PADS = ("<|finetune_right_pad_id|>", "<pad>", "<|pad|>", "[PAD]", "<|PAD_TOKEN|>", "<|endoftext|>", "<|end_of_text|>")
"""Tokens that families reserve for padding, or whose makers pad with them (Qwen's <|endoftext|>)."""


def settle(tokenizer: Tokenizer, model: LanguageModel, name: str) -> list[str]:
    """Gives the tokenizer a padding token where it has none; what was done is returned, a phrase each.

    Padding is masked everywhere, so that any token will do; one that does not end texts is taken where there is one.
    Raises StageError where the tokenizer ends no text, or knows tokens that the model has no embedding of.
    """
    if tokenizer.eos_token_id is None:
        raise StageError(f"{name}: its tokenizer has no end-of-text token; set eos_token in tokenizer_config.json")
    said = []
    if tokenizer.pad_token_id is None:
        unknown = (None, tokenizer.unk_token_id)
        known = [token for token in _PADS if tokenizer.convert_tokens_to_ids(token) not in unknown]
        tokenizer.pad_token = known[0] if known else tokenizer.eos_token
        said.append(f"no padding token, so {tokenizer.pad_token} pads")
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
