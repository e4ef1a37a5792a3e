"""Small tokenizers that cut the same text into other tokens."""

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from eval.chat_template import OWN_TEMPLATE

TEXTS = [
    "<think>Tom has 3 apples, and 4 more are 7.</think><answer>7</answer>",
    "Größe: 日本語 und naïve 🙂🙂 façade.\n\n  def f(x):\n    return x + 1\n",
    "The lowest newest widest slower lower newer wider apples apples.",
]
SPECIALS = ["<pad>", "<unk>", "<bos>", "<eos>", "<user>", "<assistant>"]


def fast(tokenizer: Tokenizer, **changed: Any) -> PreTrainedTokenizerFast:
    fields: dict[str, Any] = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>",
                              "additional_special_tokens": SPECIALS[4:], "chat_template": OWN_TEMPLATE}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, model_max_length=512,
                                   **{**fields, **changed})


def byte_level(size: int, *, trim: bool = False, **changed: Any) -> PreTrainedTokenizerFast:
    """As GPT-2's: it has all bytes, and `size` words in all, so that a small one cuts characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if trim:  # offsets without the spaces before words
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    ))
    return fast(tokenizer, **changed)


def sentencepiece(size: int) -> PreTrainedTokenizerFast:
    """As Llama 2's and Gemma's: a mark stands for a space, and what is no word is bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    every = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator([TEXTS[0], TEXTS[2]], trainers.BpeTrainer(
        vocab_size=size, special_tokens=[*SPECIALS, *every], show_progress=False
    ))
    # In real ones bytes are words, and nothing that stands so in a text.
    fields = json.loads(tokenizer.to_str())
    fields["added_tokens"] = [one for one in fields["added_tokens"] if one["content"] not in every]
    return fast(Tokenizer.from_str(json.dumps(fields)))
