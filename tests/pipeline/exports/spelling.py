"""A tokenizer that has a token for each byte and for each of some words, as byte-level ones before any merge."""

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def spelling(words: Sequence[str], merges: Sequence[tuple[str, str]] = (), **said: Any) -> PreTrainedTokenizerFast:
    """`said` is what transformers is told besides, such as a chat template."""
    specials = ["<pad>", "<unk>", "<bos>", "<eos>", *words]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*specials, *letters, *("".join(merge) for merge in merges)]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>", **said
    )
