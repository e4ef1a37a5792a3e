"""A tokenizer and a model that come from outside, made fit for each other: padding, ends, and the vocabulary's size."""

import contextlib
from collections.abc import Iterator
from typing import cast

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import StageError
from rewards.lazy import lazy

with lazy:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

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


def words(tokenizer: Tokenizer) -> int:
    """One more than its highest id. That is not the number of its tokens where ids have gaps, as those of tokenizers
    made from tiktoken's have before the special ones."""
    return max(tokenizer.get_vocab().values()) + 1


def held(tokenizer: Tokenizer, model: LanguageModel, name: str) -> list[str]:
    """Holds the vocabularies of both against each other; what is odd about them is returned, a phrase each. Raises
    StageError where the tokenizer knows tokens that the model has no embedding of."""
    said = []
    rows = embeddings(model)
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


def embeddings(model: LanguageModel) -> int:
    """How many tokens the model has an embedding of."""
    return int(model.get_input_embeddings().get_parameter("weight").shape[0])


@contextlib.contextmanager
def grown(model: LanguageModel, rows: int, tokenizer: Tokenizer, said: list[str]) -> Iterator[None]:
    """Gives the model, in place, `rows` embeddings where it has fewer, and its head as many, for an adapter that is put
    on while this lasts. They begin as the mean of the others, which is transformers' way but for what it draws.

    Of special tokens that get nothing else from the adapter a phrase is added to `said`. Raises StageError where it has
    none for other tokens, whose weights the training that made it had and did not save.
    """
    before = embeddings(model)
    if rows <= before:
        yield
        return
    cast("PreTrainedModel", model).resize_token_embeddings(rows, mean_resizing=False)
    means = [tensor[:before].mean(0) for tensor in _of_tokens(model)]
    for tensor, mean in zip(_of_tokens(model), means, strict=True):
        tensor[before:] = mean
    yield
    lacking = [
        token for token, place in sorted(tokenizer.get_vocab().items()) if place >= before
        and any(mean.ndim and torch.equal(tensor[place], mean)  # one number of a bias may be the mean by chance
                for tensor, mean in zip(_of_tokens(model), means, strict=True))
    ]
    unusable = [token for token in lacking if token not in tokenizer.all_special_tokens]
    if unusable:
        raise StageError(f"its tokenizer adds {rows - before:,} tokens to its base's, and the adapter has no weights "
                         f"of {', '.join(map(repr, unusable[:3]))}; save it with embeddings and head, as peft does by "
                         "save_embedding_layers=True")
    if lacking:
        said.append(f"no weights of {', '.join(lacking[:3])} in the adapter, so they are the mean of the others")


def _of_tokens(model: LanguageModel) -> "list[torch.Tensor]":
    """What has a row for each token: the matrices of embeddings and head, which may be tied, and a bias of the head."""
    modules: list[nn.Module | None] = [model.get_input_embeddings(), model.get_output_embeddings()]
    return [parameter.data for module in modules if module is not None for parameter in module.parameters()]
