"""Spans of tokens that stand for the same text, by tokenizers of every kind."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from eval.prompts import PLAIN
from pipeline.data.rows import Document, Row, rows
from pipeline.distillation import cross_tokenizer
from pipeline.distillation.alignment import Reader, Span, located, spans
from pipeline.distillation.shared_words import SharedWords
from pipeline.models.tokenizer import train_tokenizer
from tests.pipeline.distillation.tokenizers_apart import TEXTS, byte_level, sentencepiece

MAKE: dict[str, Callable[[], Any]] = {
    "bytes": lambda: byte_level(270),  # next to no word is whole, and no character of Japanese
    "words": lambda: byte_level(420),
    "trimmed": lambda: byte_level(400, trim=True),
    "sentencepiece": lambda: sentencepiece(330),
    "quickstart": lambda: train_tokenizer([TEXTS[0], TEXTS[2]], 512),
}


def reader(tokenizer: Any) -> Reader:
    return Reader(tokenizer, tokenizer.eos_token_id)


def told(one: Any, other: Any, text: str, theirs: str | None = None) -> tuple[Row, Row, list[Span]]:
    [row], [their_row] = (rows(some, [Document("How many?", said)])
                          for some, said in ((one, text), (other, theirs or text)))
    return row, their_row, spans(reader(one), row, reader(other), their_row)


@pytest.mark.parametrize("one", MAKE)
@pytest.mark.parametrize("other", MAKE)
def test_a_span_is_the_same_text_to_both(one: str, other: str) -> None:
    mine, theirs = MAKE[one](), MAKE[other]()
    for text in (TEXTS[0], TEXTS[2]) if "quickstart" in (one, other) else TEXTS:
        row, their_row, found = told(mine, theirs, text)
        learned = sum(weight > 0 for weight in row["weights"])
        assert sum(span.end - span.begin for span in found) == learned  # all of it is in some span
        assert len(found) > 2
        ends = found.pop()  # the two end-of-text tokens
        assert (row["input_ids"][ends.begin], ends.end) == (mine.eos_token_id, len(row["input_ids"]))
        assert their_row["input_ids"][ends.their_begin :] == [theirs.eos_token_id]
        for begin, end, their_begin, their_end in found:
            said = mine.decode(row["input_ids"][begin:end], skip_special_tokens=False)
            their_said = theirs.decode(their_row["input_ids"][their_begin:their_end], skip_special_tokens=False)
            # A space may be counted to the word before it or to the one behind it.
            assert said.strip(" ") == their_said.strip(" ")
            assert "�" not in said


def test_a_tokenizer_beside_itself_has_a_span_for_each_token_that_ends_a_character() -> None:
    tokenizer = byte_level(420)
    row, _, found = told(tokenizer, tokenizer, TEXTS[0])
    assert [span.end - span.begin for span in found] == [1] * sum(weight > 0 for weight in row["weights"])


def test_spans_by_hand() -> None:
    """One tokenizer has "lowest" whole where the other has it in letters."""
    letters, words = byte_level(262), byte_level(420)
    _, their_row, found = told(letters, words, "lowest")
    sizes = [(span.end - span.begin, span.their_end - span.their_begin) for span in found]
    pieces = [words.decode([id_]) for id_ in their_row["input_ids"]][-len(sizes) : -1]
    assert "".join(pieces) == "lowest"
    assert sizes == [*((len(piece), 1) for piece in pieces), (1, 1)]


@pytest.mark.parametrize(("mine", "theirs"), [
    ("<think>Tom has 3 apples.</think><answer>7</answer>",
     "<think>\nTom has 3 apples.\n</think>\n\n<answer>7</answer>"),
    ("Tom has 3 apples.", "thinking: Tom has 3 apples. and no more"),
])
def test_what_a_template_writes_between_is_in_no_span(mine: str, theirs: str) -> None:
    one, other = byte_level(420), sentencepiece(330)
    row, _, found = told(one, other, mine, theirs)
    said = "".join(one.decode(row["input_ids"][begin:end]) for begin, end, _, _ in found)
    assert "Tom has 3 apples" in said
    assert [span.their_end for span in found] == sorted({span.their_end for span in found})


@pytest.mark.parametrize("answer", ["", "So it is seven of them, as was asked."])
def test_text_of_few_words_that_come_often_is_in_spans(answer: str) -> None:
    program = "\n".join(f"x = x + {line % 3}" for line in range(60))
    tokenizer = byte_level(420)
    row, _, found = told(tokenizer, tokenizer, f"<think>{program}</think>{answer}",
                         f"<think>\n{program}\n</think>\n{answer}")
    learned = sum(weight > 0 for weight in row["weights"])
    assert sum(span.end - span.begin for span in found) > .95 * learned


def test_tokens_that_the_tokenizer_would_not_make_itself_are_one_span() -> None:
    """As at the edge of what a template has written, where a word was read with what stands before it."""
    tokenizer = byte_level(420)
    rest = tokenizer(" are 7", add_special_tokens=False)["input_ids"]
    text, places = located(tokenizer, [*tokenizer.convert_tokens_to_ids(list("apples")), *rest])
    assert text == "apples are 7"
    # One or the other letter may be a token of its own anyway.
    [(together, count)] = [one for one in Counter(places[:6]).items() if one[1] > 1]
    assert together[1] - together[0] == count
    assert places[6:] == located(tokenizer, tokenizer("apples are 7")["input_ids"])[1][-len(rest) :]


def test_rows_with_other_parts_have_no_spans() -> None:
    tokenizer = byte_level(300)
    row: Row = {"input_ids": [5, 6, 7, 8], "weights": [0.0, 1.0, 0.0, 1.0]}
    assert spans(reader(tokenizer), row, reader(tokenizer), {**row, "weights": [0.0, 1.0, 1.0, 1.0]}) == []
    # What stands first follows nothing.
    bare = {**row, "weights": [1.0, 1.0, 1.0, 1.0]}
    assert spans(reader(tokenizer), bare, reader(tokenizer), bare)[0].begin > 0


TRACE = "<think>\nGröße 日本語 🙂: 12345 + 6.5 = 12351.5,\n\n  so x → ∞ isn't it?\n</think>\n\n**12351.5**"


@pytest.mark.parametrize(("one", "other"), [("qwen3", "llama3_1"), ("gemma3", "qwen3"), ("gptoss", "gemma3")])
def test_tokenizers_of_real_models_agree_on_a_trace(real_tokenizer: Callable[[str], Any], one: str, other: str) -> None:
    """Each in its own chat template, with the thinking where it has it."""
    mine, theirs = real_tokenizer(one), real_tokenizer(other)
    readers = [cross_tokenizer.reader(some, PLAIN, "it") for some in (mine, theirs)]
    [row], [their_row] = (rows(some, [Document("How much is it?", TRACE)]) for some in (mine, theirs))
    found = spans(readers[0], row, readers[1], their_row)
    covered = sum(span.end - span.begin for span in found)
    assert covered > 0.8 * sum(weight > 0 for weight in row["weights"])
    for begin, end, their_begin, their_end in found[:-1]:
        said = mine.decode(row["input_ids"][begin:end], skip_special_tokens=False)
        assert said == theirs.decode(their_row["input_ids"][their_begin:their_end], skip_special_tokens=False)
    assert row["input_ids"][found[-1].begin] == readers[0].ends_with
    words = SharedWords.of(readers[0], len(mine), readers[1], len(theirs), None)
    texts = {mine.decode([id_]) for id_ in words.mine.shared[:20000].tolist()}
    assert {"the", " the", "("} <= texts
