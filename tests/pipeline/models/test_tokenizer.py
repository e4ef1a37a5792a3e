"""The word-level tokenizer: numbers are single tokens wherever they stand, texts come back to the letter."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.assistant_turns import encode_completion
from eval.prompts import R1_ZERO, encode_prompt
from eval.protocol import Prompting
from pipeline.models.tokenizer import SPECIALS, TAGS, train_tokenizer
from rewards.types import Problem

WORDS = ["Tom", "has", "apples.", "x", "+=", "=", "-", "(x):", "<think>", "</answer>", "f(x)", "left?", ";", ","]
texts = st.lists(st.sampled_from(WORDS) | st.integers(0, 99).map(str), min_size=1, max_size=12).map(" ".join)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(["Tom has 3 apples. How many are left?\nFirst 3. Then 3 + 4 = 7. x += 2; f(x): double."], 32)


@given(texts)
def test_what_was_read_comes_back_to_the_letter(text: str) -> None:
    made = train_tokenizer([text], 64)
    ids = made(text)["input_ids"]
    assert made.decode(ids) == text
    assert made.unk_token_id not in ids


@given(texts, st.integers(0, 99))
def test_a_number_is_the_same_token_everywhere(text: str, number: int) -> None:
    made = train_tokenizer([f"{text} {number}\n{number}."], 64)
    (alone,) = made(str(number))["input_ids"]
    for written in (f"{text} {number}", f"{number}.", f"={number}"):
        assert alone in made(written)["input_ids"]


def test_every_number_to_99_is_known(tokenizer: Any) -> None:
    for number in range(100):
        ids = tokenizer(str(number))["input_ids"]
        assert len(ids) == 1
        assert tokenizer.unk_token_id not in ids


def test_tags_and_specials_are_one_token_each(tokenizer: Any) -> None:
    for piece in (*SPECIALS, *TAGS):
        assert len(tokenizer(piece)["input_ids"]) == 1
    kept = tokenizer.decode(tokenizer("<think>3</think>")["input_ids"], skip_special_tokens=True)
    assert kept == "<think>3</think>"
    assert tokenizer.pad_token_id == 0


def test_the_chat_template_is_the_prompt_and_the_completion(tokenizer: Any) -> None:
    problem = Problem("1", "How many are left?", "7", "math", "words")
    prompt = encode_prompt(tokenizer, problem)
    assert tokenizer.convert_ids_to_tokens(prompt)[:2] == ["<bos>", "<user>"]
    assert prompt[-1] == tokenizer.convert_tokens_to_ids("<assistant>")
    answer = "<think>3 + 4 = 7.</think>"
    messages = [{"role": "user", "content": problem.prompt}, {"role": "assistant", "content": answer}]
    whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert whole == prompt + encode_completion(tokenizer, answer)


def test_opened_thinking_is_the_tag_after_the_prompt(tokenizer: Any) -> None:
    tag = tokenizer.convert_tokens_to_ids("<think>")
    assert encode_prompt(tokenizer, "Tom", Prompting(open_thinking=True)) == [*encode_prompt(tokenizer, "Tom"), tag]


def test_without_a_template_the_prompt_is_that_of_r1_zero() -> None:
    made = train_tokenizer([R1_ZERO.format(prompt="Tom has 3 apples.")], 256)
    made.chat_template = None
    ids = encode_prompt(made, "Tom has 3 apples.")
    assert made.decode(ids) == R1_ZERO.format(prompt="Tom has 3 apples.")


def test_saved_and_loaded_it_writes_the_same(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.chat_template == tokenizer.chat_template
    assert encode_prompt(loaded, "Tom has 3 apples.") == encode_prompt(tokenizer, "Tom has 3 apples.")
    assert loaded.decode(loaded("First 3. Then 3 + 4 = 7.")["input_ids"]) == "First 3. Then 3 + 4 = 7."
    assert (loaded.eos_token_id, loaded.pad_token_id, loaded.model_max_length) == (
        tokenizer.eos_token_id, tokenizer.pad_token_id, 32)
