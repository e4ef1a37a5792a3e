"""What a server says an answer is, taken apart."""

import json
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.completions import BYTES_BESIDE, completion_of, most_bytes
from eval.http_client import NoAnswer
from rewards.types import Completion
from tests.hostile import BODIES, STRANGE


@pytest.mark.parametrize("what", BODIES)
def test_what_is_no_answer_is_told_in_one_short_line(what: str) -> None:
    with pytest.raises(NoAnswer) as error:
        completion_of(BODIES[what], "", 64)
    assert 10 < len(str(error.value)) <= 200
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("reason", "finished"), [("stop", True), ("eos", True), ("length", False), (None, True)])
def test_an_answer_is_whole_where_the_model_or_the_request_ended_it(reason: str | None, finished: bool) -> None:
    answer = {"choices": [{"message": {"content": "5"}, "finish_reason": reason}]}
    assert completion_of(json.dumps(answer).encode(), "", 64) == Completion("5", finished, 0)


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_what_the_server_cut_off_is_no_answer(reason: str) -> None:
    answer = {"choices": [{"message": {"content": "The answer is 5"}, "finish_reason": reason}]}
    with pytest.raises(NoAnswer, match=f"cut off by the server \\(finish_reason '{reason}'\\)"):
        completion_of(json.dumps(answer).encode(), "", 64)


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_strange_is_an_answer_that_a_file_can_hold(what: str) -> None:
    content, text = STRANGE[what]
    found = completion_of(content, "", 64)
    assert found == Completion(text, True, 0)
    assert found.text.encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "text", "usage", "completion_tokens", "reasoning_content"]),
        inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_whatever_json_it_is_there_is_a_completion_or_no_answer(value: Any) -> None:
    try:
        found = completion_of(json.dumps(value).encode(), "", 64)
    except NoAnswer:
        return
    assert isinstance(found.text, str)
    assert 0 <= found.tokens <= 128


def answer(text: str, **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}], **more}, ensure_ascii=False).encode()


def test_the_longest_answer_that_was_asked_for_fits() -> None:
    """Tokens of 128 characters, once as thinking and once more under another name."""
    body = answer("-" * 128 * 4096, usage={"completion_tokens": 4096}, reasoning="-" * 128 * 4096)
    assert len(body) < most_bytes(4096)
    assert completion_of(body, "", 4096).tokens == 4096
    quoted = answer('"\\' * 4096)
    assert completion_of(quoted, "", 4096).text == '"\\' * 4096


@pytest.mark.parametrize("body", [
    b"[" * (BYTES_BESIDE + 1), b'"' * 400_000, b'["",' + b'"",' * 100_000, b"[" + b"[]," * 400_000 + b"1]",
    b'["' + b'x"y"' * 100_000,
])
def test_what_would_take_much_memory_is_not_read(body: bytes) -> None:
    with pytest.raises(NoAnswer, match="mostly no text"):
        completion_of(body, "", 32768)


def test_a_string_without_an_end_is_looked_through_once() -> None:
    """Looking again from every quote in it would take minutes."""
    for body in (b'"' + b'\\"' * 2_000_000, b'"' + b"\\" * 4_000_001):
        with pytest.raises(NoAnswer, match="no JSON"):
            completion_of(body, "", 32768)


@pytest.mark.parametrize(("claimed", "thinking", "taken"), [
    (900, 800, True), (900, 0, False), (10**12, 10**12, False), (129, -5, False),
])
def test_thinking_that_nothing_bounds_is_no_wild_claim(claimed: int, thinking: int, taken: bool) -> None:
    usage = {"completion_tokens": claimed, "completion_tokens_details": {"reasoning_tokens": thinking}}
    with nullcontext() if taken else pytest.raises(NoAnswer, match="tokens, where at most 64"):
        assert completion_of(answer("5", usage=usage), "", 64).tokens == claimed
