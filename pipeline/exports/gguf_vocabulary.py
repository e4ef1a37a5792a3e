"""The tokenizer and the chat template inside a GGUF file, in the words of llama.cpp."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from eval.ends import ends_of
from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import CommandError
from pipeline.disk.durable import JsonObject
from pipeline.models.tokenizer import PIECES
from rewards.lazy import lazy

with lazy:
    import gguf

if TYPE_CHECKING:
    import gguf

_BYTES = "ByteLevel"
_CASES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"

CUTS: Mapping[tuple[str, ...], str] = {
    (_BYTES,): "gpt-2",
    ("Digits", _BYTES): "smollm",
    (rf"{_CASES}|{_LETTERS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}",): "qwen2",
    (rf"{_CASES}|{_LETTERS}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}",): "llama-bpe",
    (rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_CASES}?|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_CASES}?"
     rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_REST}",): "gpt-4o",
    (r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
     r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
     rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_REST}"): "deepseek-v3",
}
"""llama.cpp's name of how text is cut before its pieces are merged, by the cuts that a tokenizer.json has, one after
another. llama.cpp has no others than those in its source, of which these are those of the families that are written."""

_MEANT: Mapping[str, Mapping[str, str | bool]] = {
    "Split": {"behavior": "Isolated", "invert": False},
    "Digits": {"individual_digits": True},
    _BYTES: {"add_prefix_space": False},
}
"""What steps have to say for the cuts of `CUTS` to be theirs."""


def write(writer: "gguf.GGUFWriter", tokenizer: Tokenizer, model: LanguageModel) -> None:
    """Add all tokens, how they are found in a text, the special ones and the chat template. Raises CommandError for a
    tokenizer that llama.cpp has none like."""
    described = _described(tokenizer)
    kind = described["model"]["type"]
    size = model.config.get_text_config().vocab_size
    if kind == "BPE":
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(cut_of(tokenizer))
    elif kind == "WordLevel":
        _words(writer, described, tokenizer, size)
    else:
        raise CommandError(f"llama.cpp has no tokenizer like this one ({kind}); export the model --to vllm instead")
    tokens, types = _tokens(tokenizer, size, "▁" if kind == "WordLevel" else " ")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    _specials(writer, tokenizer, model, merges=kind == "BPE")


def _described(tokenizer: Tokenizer) -> JsonObject:
    if not tokenizer.is_fast:
        raise CommandError("the tokenizer has no tokenizer.json, of which a GGUF file's is made; "
                           "save it with a newer transformers first")
    found: JsonObject = json.loads(tokenizer.backend_tokenizer.to_str())
    return found


def cut_of(tokenizer: Tokenizer) -> str:
    """llama.cpp's name of how a byte-level tokenizer cuts text. Raises CommandError where it has none."""
    described = _described(tokenizer)
    if described["model"].get("byte_fallback") or not described["pre_tokenizer"]:
        raise CommandError("GGUF files are written of byte-level tokenizers, and this one is SentencePiece's; "
                           "export the model --to vllm instead")
    _require_same_text(described)
    steps = described["pre_tokenizer"].get("pretokenizers", [described["pre_tokenizer"]])
    cuts = tuple(filter(None, map(_step, steps)))
    if cuts not in CUTS:
        raise CommandError("llama.cpp cuts no text as this tokenizer does; export the model --to vllm instead")
    return CUTS[cuts]


def _require_same_text(described: JsonObject) -> None:
    """Raises CommandError for a tokenizer that changes texts before it cuts them, otherwise than by composing letters
    (NFC), as Qwen's do: llama.cpp changes none."""
    normalizer = described["normalizer"] or {"type": "NFC"}
    steps = normalizer.get("normalizers", [normalizer])
    if others := [step["type"] for step in steps if step["type"] != "NFC"]:
        raise CommandError(f"the tokenizer changes texts before it cuts them ({others[0]}), and llama.cpp does not; "
                           "export the model --to vllm instead")


def _step(step: JsonObject) -> str:
    """What one step of a pre-tokenizer cuts by; nothing for one that only spells bytes. Raises CommandError for a step
    that cuts in another way than those of `CUTS`."""
    for field, meant in _MEANT.get(step["type"], {}).items():
        if step[field] != meant:
            raise CommandError(f"llama.cpp has no {step['type']} whose {field} is {step[field]}, as this tokenizer's; "
                               "export the model --to vllm instead")
    if step["type"] == "Split":
        pattern = str(step["pattern"].get("Regex", step["pattern"]))
        return pattern.replace("\r", r"\r").replace("\n", r"\n")  # written either way, and meant the same
    return "" if step["type"] == _BYTES and not step["use_regex"] else str(step["type"])


def _tokens(tokenizer: Tokenizer, size: int, space: str) -> "tuple[list[str], list[gguf.TokenType]]":
    """Every token up to the size of the embeddings, and what it is."""
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, types = [], []
    for number in range(size):
        if number in added:
            tokens.append(by_id[number])
            types.append(gguf.TokenType.CONTROL if added[number].special else gguf.TokenType.USER_DEFINED)
        elif number in by_id:
            tokens.append(by_id[number].replace(" ", space))
            types.append(gguf.TokenType.NORMAL)
        else:
            tokens.append(f"[PAD{number}]")  # rows of the embeddings that no token has
            types.append(gguf.TokenType.UNUSED)
    return tokens, types


def _words(writer: "gguf.GGUFWriter", described: JsonObject, tokenizer: Tokenizer, size: int) -> None:
    """The quickstart's tokenizer, whose tokens are whole words, as a unigram one: llama.cpp then takes the fewest
    tokens that make up the text.

    A word with the space behind it stands before a number alone, where it saves a token; elsewhere it costs a little
    more than the word, and the space goes to the next word. Numbers of three digits and more are cut in two differently
    now and then, and of a word that is in no token llama.cpp finds parts. Raises CommandError for another tokenizer.
    """
    _require_same_text(described)
    patterns = [step["pattern"].get("Regex") for step in [described["pre_tokenizer"] or {}] if "pattern" in step]
    if patterns != [PIECES]:
        raise CommandError("llama.cpp has no tokenizer of whole words like this one; export the model --to vllm "
                           "instead")
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_scores([-1.5 if re.fullmatch(r".*\S ", by_id.get(number, "")) else -1.0
                             for number in range(size)])
    writer.add_add_space_prefix(False)
    writer.add_remove_extra_whitespaces(False)


def begins_itself(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts BOS before every text, which a GGUF file then asks llama.cpp for."""
    return bool(tokenizer.encode("a")[0] == tokenizer.bos_token_id)


def _specials(writer: "gguf.GGUFWriter", tokenizer: Tokenizer, model: LanguageModel, *, merges: bool) -> None:
    """Merges, ids of special tokens and the chat template."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        special = gguf.SpecialVocab(Path(folder), load_merges=merges, n_vocab=model.config.get_text_config().vocab_size)
    named = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    special.special_token_ids |= {name: number for name, number in named.items() if number is not None}
    # Said outright, since what llama.cpp does where nothing is said differs by how text is cut.
    ends_itself = tokenizer.encode("a")[-1] == tokenizer.eos_token_id
    special.add_special_token = {"bos": begins_itself(tokenizer), "eos": ends_itself}
    if others := sorted(ends_of(tokenizer, model) - {tokenizer.eos_token_id}):
        special.special_token_ids["eot"] = others[0]
    special.add_to_gguf(writer, quiet=True)
