"""The tokenizer inside a GGUF file cuts texts as the model's own does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from eval.problems import load
from pipeline.contract.errors import CommandError
from pipeline.exports import gguf_file, gguf_vocabulary
from pipeline.models.tokenizer import train_tokenizer
from tests.pipeline.exports.spelling import spelling

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install 'retort[gguf]'")

TEXTS = ["Tom has 12 apples = 15.", "  two spaces\n\nand lines\t", "It's 한국어 and 🦙."]
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)


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
    by_spaces, words = spelling([]), train_tokenizer(TEXTS, 96)
    by_spaces.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    words.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    for tokenizer, said in ((by_spaces, "llama.cpp cuts no text"), (words, "no tokenizer of whole words like this")):
        with pytest.raises(CommandError, match=said) as caught:
            written(tokenizer)
        assert len(caught.value.lines) == 1


@pytest.mark.parametrize(("normalizer", "steps", "said"), [
    (normalizers.Lowercase(), [BYTES], r"changes texts before it cuts them \(Lowercase\)"),
    (normalizers.Sequence([normalizers.NFC(), normalizers.NFKC()]), [BYTES], r"before it cuts them \(NFKC\)"),
    (None, [pre_tokenizers.ByteLevel(add_prefix_space=True)], "no ByteLevel whose add_prefix_space is True"),
    (None, [pre_tokenizers.Digits(individual_digits=False), BYTES], "no Digits whose individual_digits is False"),
    (None, [pre_tokenizers.Split(" ", "removed")], "no Split whose behavior is Removed"),
    (None, [pre_tokenizers.Split(" ", "isolated", invert=True)], "no Split whose invert is True"),
])
def test_what_llama_cpp_would_cut_otherwise_is_one_line(normalizer: Any, steps: Any, said: str) -> None:
    tokenizer = spelling([])
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if normalizer:
        tokenizer.backend_tokenizer.normalizer = normalizer
    with pytest.raises(CommandError, match=said) as caught:
        gguf_vocabulary.cut_of(tokenizer)
    assert len(caught.value.lines) == 1


def test_composed_letters_and_digits_one_by_one_are_known() -> None:
    tokenizer = spelling([])
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), BYTES])
    assert gguf_vocabulary.cut_of(tokenizer) == "smollm"
