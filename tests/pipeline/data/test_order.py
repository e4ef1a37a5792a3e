"""Which rows are trained on, and in which order."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract.errors import StageError
from pipeline.data.order import Ordered, Shuffled, epochs, fitting, left_out_of
from pipeline.data.rows import Document, Stream, document, read_rows, rows
from pipeline.data.tokenized import Tokenized, Wanted, tokenized
from pipeline.models.tokenizer import train_tokenizer

WORDS = [(1, 1), (9, 1), (1, 9), (2, 2), (3, 1), (12, 5), (1, 3), (20, 20)]
"""Words of each prompt and of its completion; a word is a token, and so are <bos>, <user>, <assistant> and <eos>."""


@pytest.fixture
def tokenizer() -> Any:
    return train_tokenizer([" a b"], 64)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"prompt": " a" * n, "completion": " b" * m}) + "\n" for n, m in WORDS))
    return file


@pytest.fixture
def kept(tmp_path: Path, tokenizer: Any, data: Path) -> Tokenized:
    return tokenized(tmp_path / "cache", tokenizer, Wanted(data), lambda _: None)


def test_epochs_are_drawn_as_lists_of_rows_would_be() -> None:
    numbers = [0, 2, 3, 7, 8]
    letters = [chr(97 + number) for number in numbers]
    rng = random.Random(5)
    order = [letter for _ in range(3) for letter in rng.sample(letters, len(letters))]
    assert [chr(97 + number) for number in epochs(numbers, 12, random.Random(5))] == order[:12]


def test_long_rows_are_left_out_or_cut(kept: Tokenized) -> None:
    assert list(kept.lengths) == [n + m + 4 for n, m in WORDS]
    dropped = fitting(kept, 12, cut=False)
    assert (dropped.numbers, dropped.longer, dropped.nothing_left) == ([0, 3, 4, 6], 4, 0)
    # <bos><user>, nine words and <assistant> are twelve tokens, of which none is learned.
    cut = fitting(kept, 12, cut=True)
    assert (cut.numbers, cut.longer, cut.nothing_left) == ([0, 2, 3, 4, 6], 4, 3)
    notes: list[str] = []
    assert left_out_of(kept, dropped, notes.append) == {"dropped/too long": 4}
    assert left_out_of(kept, cut, notes.append) == {"cut": 1, "dropped/nothing to learn": 3}
    assert notes == ["4 of 8 rows are longer than 12 tokens, left out", "4 of 8 rows are longer than 12 tokens, cut",
                     "3 of these have nothing to learn in their first 12 tokens, left out"]
    assert left_out_of(kept, fitting(kept, 44, cut=False), notes.append) == {}


def test_turns_whose_thinking_is_left_out_are_counted(tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "message['content']", "(message['content'] if loop.last else message['content'].split('</think>')[-1])")
    talk = [{"role": "user", "content": " a"}, {"role": "assistant", "content": "<think> a</think> b"}]
    file = tmp_path / "talks.jsonl"
    file.write_text("".join(json.dumps({"messages": talk * count}) + "\n" for count in (1, 3, 2)))
    for _ in range(2):  # made, and read from the disk
        found = tokenized(tmp_path / "cache", tokenizer, Wanted(file), lambda _: None)
        notes: list[str] = []
        assert left_out_of(found, fitting(found, 99, cut=False), notes.append) == {"not learned/thinking left out": 3}
    assert notes == ["the chat template leaves the thinking of 3 earlier turns out, which are not learned; "
                     "to learn one, let a row end with it"]


def test_a_row_that_is_cut_learns_no_end(kept: Tokenized, tokenizer: Any) -> None:
    whole, cut = (Ordered(kept, [2], most)[0] for most in (14, 12))
    assert whole["input_ids"][-1] == tokenizer.eos_token_id
    assert cut == {"input_ids": whole["input_ids"][:12], "weights": whole["weights"][:12]}
    assert tokenizer.eos_token_id not in cut["input_ids"]


def test_shuffled_rows_are_those_of_a_stream_of_documents(kept: Tokenized, tokenizer: Any, data: Path) -> None:
    def documents(rng: random.Random) -> Iterator[Document]:
        records = read_rows(data)
        while True:
            for record in rng.sample(records, len(records)):
                yield Document(record["prompt"], record["completion"])

    begun: list[int] = []
    shuffled = Shuffled(kept, 21, 12, random.Random(3), cut=False, prompt_weight=0.5, begin=lambda: begun.append(1))
    assert (len(shuffled), begun) == (21, [])
    stream = Stream(tokenizer, documents(random.Random(3)), 21, 12, 0.5)
    assert [shuffled[number] for number in range(21)] == list(stream)
    assert begun == [1]
    made = rows(tokenizer, [document(record) for record in read_rows(data)], 0.5)
    longest = Shuffled(kept, 8, 12, random.Random(3), cut=True, prompt_weight=0.5)
    assert made[2]["input_ids"][:12] in [longest[number]["input_ids"] for number in range(8)]


def test_rows_that_are_kept_back_are_not_read(kept: Tokenized) -> None:
    def read(*left_out: int) -> list[list[int]]:
        found = Shuffled(kept, 24, 24, random.Random(3), cut=True, prompt_weight=0.5, left_out=left_out)
        return [found[number]["input_ids"] for number in range(24)]

    everything, fewer = read(), read(0, 5)
    assert {tuple(ids) for ids in everything} - {tuple(ids) for ids in fewer} == {
        tuple(Ordered(kept, [number], 24, 0.5)[0]["input_ids"]) for number in (0, 5)
    }
    with pytest.raises(StageError, match="none of 8 texts"):
        read(*range(8))


def test_where_nothing_fits_it_is_one_line(kept: Tokenized) -> None:
    with pytest.raises(StageError, match="none of 8 texts is at most 5 tokens long"):
        Shuffled(kept, 3, 5, random.Random(0), cut=False, prompt_weight=0.0)
