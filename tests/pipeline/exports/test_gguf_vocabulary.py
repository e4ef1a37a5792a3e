"""The tokenizer inside a GGUF file cuts texts as the model's own does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from eval.problems import load
from pipeline.contract.errors import CommandError
from pipeline.exports import gguf_file, gguf_vocabulary
from pipeline.models.tokenizer import train_tokenizer
from tests.pipeline.exports.spelling import spelling

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install 'retort[gguf]'")

TEXTS = ["Tom has 12 apples = 15.", "  two spaces\n\nand lines\t", "It's 한국어 and 🦙."]


@pytest.fixture
def written(tiny: Callable[..., Any], tmp_path: Path) -> Callable[[Any], Path]:
    def write(tokenizer: Any) -> Path:
        model = tiny("qwen3", vocab_size=len(tokenizer) + 2)  # two rows that no token has
        gguf_file.write(model, tokenizer, tmp_path / "tiny.gguf", "F32", "tiny")
        return tmp_path / "tiny.gguf"

    return write


def fields(file: Path) -> dict[str, Any]:
    found = gguf.GGUFReader(file).fields
    return {name.removeprefix("tokenizer.ggml."): field.contents() for name, field in found.items()}


def test_a_byte_level_tokenizer_is_read_back(written: Callable[[Any], Path]) -> None:
    from transformers import AutoTokenizer

    own = spelling(["<|im_end|>"], [("a", "p"), ("ap", "p"), ("Ġ", "app"), ("1", "2")])
    file = written(own)
    said = fields(file)
    assert (said["model"], said["pre"], said["tokens"][-2:]) == ("gpt2", "gpt-2", [f"[PAD{len(own)}]",
                                                                                  f"[PAD{len(own) + 1}]"])
    again = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    for text in [*TEXTS, "<|im_end|> apple"]:
        assert again.encode(text, add_special_tokens=False) == own.encode(text, add_special_tokens=False)
        assert again.decode(again.encode(text)) == text


def test_words_are_found_as_the_quickstarts_tokenizer_finds_them(written: Callable[[Any], Path]) -> None:
    """By the library's unigram model, which chooses as llama.cpp's does."""
    texts = [problem.prompt for problem in load("word_problems:train", 200)]
    texts += [f"<think>Has {n}. Gets {n % 7}: {n} + {n % 7} = {n + n % 7}.</think><answer>{n}</answer>"
              for n in range(90)]
    own = train_tokenizer(texts, 96)
    said = fields(written(own))
    scored = list(zip(said["tokens"], said["scores"], strict=True))
    unigram = Tokenizer(models.Unigram(scored, said["unknown_token_id"]))
    for text in texts:
        assert unigram.encode(text.replace(" ", "▁")).ids == own.encode(text)
    assert (said["add_space_prefix"], said["remove_extra_whitespaces"]) == (False, False)


@pytest.mark.parametrize(("name", "cut"), [
    ("qwen3", "qwen2"), ("llama3_1", "llama-bpe"), ("gptoss", "gpt-4o"), ("deepseek_v3", "deepseek-v3"),
])
def test_published_tokenizers_are_known(real_tokenizer: Callable[[str], Any], name: str, cut: str) -> None:
    assert gguf_vocabulary.cut_of(real_tokenizer(name)) == cut


def test_a_tokenizer_that_llama_cpp_has_none_like_is_one_line(written: Callable[[Any], Path]) -> None:
    from tokenizers import pre_tokenizers

    by_spaces, words = spelling([]), train_tokenizer(TEXTS, 96)
    by_spaces.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    words.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    for tokenizer, said in ((by_spaces, "llama.cpp cuts no text"), (words, "no tokenizer of whole words like this")):
        with pytest.raises(CommandError, match=said) as caught:
            written(tokenizer)
        assert len(caught.value.lines) == 1
