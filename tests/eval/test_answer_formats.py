"""Thinking and answers, in the forms in which models write them."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.answer_formats import HARMONY, OTHERS, TAGS, answer_format
from eval.answer_reader import AnswerReader, cut
from pipeline.models.tokenizer import train_tokenizer
from rewards.extract import split_thinking
from rewards.types import Completion

words = st.text(alphabet="ab <>|/\n", max_size=12).filter(lambda text: "think>" not in text and "<|" not in text)
marks = st.sampled_from([
    "<|start|>", "assistant", "<|channel|>", "analysis", "commentary", "final", "<|constrain|>", "json", "<|message|>",
    "\\boxed{2}", "<|end|>", "<|return|>", "<|call|>", "<think>", "</think>", "So.", " ", "\n",
])


@given(st.lists(marks, max_size=14).map("".join))
def test_whatever_gpt_oss_writes_only_a_message_of_the_channel_final_is_the_answer(raw: str) -> None:
    read = HARMONY.read("<|channel|>" + raw, opened=False)
    _, answer = split_thinking(Completion(read))
    if answer:
        assert answer in raw.replace("<think>", "< think>").replace("</think>", "< /think>")
        assert "final" in raw
    assert not any(mark in read for mark in HARMONY.marks)


@given(words, words)
def test_what_is_written_is_read_again(thinking: str, answer: str) -> None:
    for form in (TAGS, HARMONY, *OTHERS):
        text = f"<think>{thinking}</think>{answer}" if thinking.strip() else answer
        assert form.read(form.write(text), opened=False) == text
        opened = form.write(f"<think>{thinking}").removeprefix(form.opening)
        if thinking.strip():
            assert form.read(opened, opened=True) == f"<think>{thinking}"


def test_a_long_answer_is_read_in_no_time() -> None:
    """Each of these takes a pattern that goes back more than a minute."""
    for rest in ("x" * 10**6, "<|channel|>" * 10**5, "<|message|>" * 10**5, "<|start|>a" * 10**5):
        assert HARMONY.read("<|channel|>" + rest, opened=False).startswith("<think>")


@pytest.mark.parametrize(("raw", "closed"), [
    ("<|channel|>analysis<|message|>So", "<think>So</think>2"),
    ("<|channel|>analysis<|message|>So<|end|>", "<think>So</think>2"),
    ("<|channel|>analysis<|message|>So<|end|><|start|>assistant<|channel|>ana", "<think>So</think>2"),
    ("<|channel|>", "2"),
])
def test_thinking_can_be_closed_wherever_it_is(raw: str, closed: str) -> None:
    assert HARMONY.read(raw + HARMONY.close(raw) + "2", opened=False) == closed


def test_an_answer_with_a_type_is_one() -> None:
    raw = '<|channel|>final <|constrain|>json<|message|>{"a": 2}<|return|>'
    assert HARMONY.read(raw, opened=False) == '{"a": 2}'


@pytest.fixture
def tokenizer() -> Any:
    return train_tokenizer(["Tom has 3 apples. <think>So 3.</think><answer>3</answer>"], 64)


def test_tags_that_are_special_tokens_are_not_lost(tokenizer: Any) -> None:
    ids = [*tokenizer.encode("<think>So 3.</think><answer>3</answer>"), tokenizer.eos_token_id]
    assert AnswerReader(tokenizer).text(ids) == "<think>So 3.</think><answer>3</answer>"
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "<user>"]})
    assert tokenizer.decode(ids, skip_special_tokens=True) == "So 3.<answer>3</answer>"
    user = tokenizer.convert_tokens_to_ids("<user>")
    assert AnswerReader(tokenizer).text([user, *ids]) == "<think>So 3.</think><answer>3</answer>"


@pytest.mark.parametrize("form", [form for form in OTHERS if not form.token])
def test_other_tags_are_read_as_the_same(tokenizer: Any, form: Any) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": [form.opening, form.closing]})
    assert answer_format(tokenizer) is form
    reader = AnswerReader(tokenizer)
    ids = tokenizer.encode(f"{form.opening}So 3.{form.closing}3")
    assert reader.text(ids) == "<think>So 3.</think>3"
    assert reader.opens(tokenizer.encode(f"Tom{form.opening}"))
    assert reader.text(ids[1:], opened=True) == "<think>So 3.</think>3"


def test_the_tags_of_gemma_4(real_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(real_tokenizer("gemma3"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|channel>", "<channel|>"]})
    ids = tokenizer.encode("<|channel>thought\nSo 3.<channel|>It is 3.<end_of_turn>", add_special_tokens=False)
    assert AnswerReader(tokenizer).text(ids) == "<think>So 3.</think>It is 3."


def test_an_end_that_is_no_special_token_is_no_text(tokenizer: Any) -> None:
    dot = tokenizer.convert_tokens_to_ids(".")
    reader = AnswerReader(tokenizer, {dot})
    assert reader.text([*tokenizer.encode("Tom has 3"), dot]) == "Tom has 3"
    assert reader.ended([dot])
    assert not reader.ended([])


def test_a_completion_ends_at_its_stop_text(tokenizer: Any) -> None:
    reader = AnswerReader(tokenizer, stop=["apples"])
    ids = tokenizer.encode("Tom has 3 apples")
    assert reader.ended(ids)
    assert reader.completion(ids, opened=False, finished=True) == Completion("Tom has 3 ", True, len(ids))
    assert not reader.ended(ids[:-1])


@given(words, words)
def test_nothing_is_cut_where_there_is_no_stop_text(text: str, stop: str) -> None:
    found, ended = cut(text, [stop] if stop else [])
    assert text.startswith(found)
    assert ended == (bool(stop) and stop in text)
