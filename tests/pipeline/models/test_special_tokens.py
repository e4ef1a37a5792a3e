"""Tokenizers that come from outside: without padding, with more or fewer tokens than the model has rows for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from pipeline.contract.errors import StageError
from pipeline.distillation.teachers import words_of
from pipeline.models import special_tokens
from pipeline.models.tokenizer import train_tokenizer

Tiny = Callable[..., Any]


@pytest.fixture
def tokenizer() -> Any:
    return train_tokenizer(["Tom has 3 apples."], 64)


@pytest.mark.parametrize(("added", "pads"), [
    ([], "<eos>"), (["<|endoftext|>"], "<|endoftext|>"),
    (["<|endoftext|>", "<|finetune_right_pad_id|>"], "<|finetune_right_pad_id|>"),
])
def test_a_tokenizer_without_padding_gets_one_that_ends_no_text_if_there_is_one(
    tokenizer: Any, added: list[str], pads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer.pad_token = None
    monkeypatch.setattr(special_tokens, "_PADS", tuple(token for token in special_tokens._PADS if token != "<pad>"))
    tokenizer.add_special_tokens({"extra_special_tokens": added})
    said = special_tokens.settle(tokenizer, "mine")
    assert tokenizer.pad_token == pads
    assert said == [f"no padding token, so {tokenizer.pad_token} pads"]


def test_ids_may_have_gaps(tokenizer: Any, tiny: Tiny, tmp_path: Path, context: Callable[..., Any]) -> None:
    assert special_tokens.words(tokenizer) == len(tokenizer)
    gapped = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"a": 0, "b": 1, "<unk>": 2, "<eos>": 9}, "<unk>")), eos_token="<eos>"
    )
    assert (len(gapped), special_tokens.words(gapped)) == (4, 10)
    teacher = tiny("qwen3")
    teacher.save_pretrained(tmp_path / "teacher")
    told = words_of(context(teacher=tmp_path / "teacher"), ["teacher"], teacher, gapped, None)
    assert told.known == 10  # the end of a turn is a word


def test_a_tokenizer_that_ends_no_text_is_refused(tokenizer: Any) -> None:
    tokenizer.eos_token = None
    with pytest.raises(StageError, match="mine: its tokenizer has no end-of-text token; set eos_token"):
        special_tokens.settle(tokenizer, "mine")


def test_rows_beyond_the_tokens_are_told_and_tokens_beyond_the_rows_refused(tokenizer: Any, tiny: Tiny) -> None:
    size = len(tokenizer)
    assert special_tokens.held(tokenizer, tiny("qwen3", vocab_size=size), "mine") == []
    more = tiny("qwen3", vocab_size=size + 7)
    assert special_tokens.held(tokenizer, more, "mine") == ["7 embeddings without a token"]
    with pytest.raises(StageError, match="has no embedding; give the tokenizer that belongs to the model"):
        special_tokens.held(tokenizer, tiny("qwen3", vocab_size=size - 1), "mine")


def test_a_special_token_beyond_the_rows_is_only_told(tokenizer: Any, tiny: Tiny) -> None:
    model = tiny("qwen3", vocab_size=len(tokenizer))
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>"]})
    assert special_tokens.held(tokenizer, model, "mine") == ["no embedding of <image>"]
