"""An earlier turn whose thinking a template leaves out is not learned, and counted."""

from pathlib import Path
from typing import Any

import pytest
import trl

from pipeline.data.chat import Conversation, Conversations, Unfit
from pipeline.models.tokenizer import train_tokenizer

CALL = {"type": "function", "function": {"name": "add", "arguments": {"x": 1}}}
TOOL = {"role": "tool", "name": "add", "content": "5"}


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def thought(content: str, **more: Any) -> dict[str, Any]:
    return said(content, thinking="hm", reasoning_content="hm", **more)


def encoded(template: str, messages: list[dict[str, Any]]) -> tuple[str, int]:
    """What is learned by a template of trl's, and how many turns are not since their thinking is left out."""
    tokenizer = train_tokenizer(["It is 5.", "no", "yes", "hm\n", "well\n", " to=functions.add"], 256)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = (Path(trl.__file__).parent / f"chat_templates/{template}.jinja").read_text()
    found = Conversations(tokenizer).encode([Conversation(messages)])[0]
    if isinstance(found, Unfit):
        return found.said, 0
    ids = [id_ for id_, weight in zip(found.ids, found.learned, strict=True) if weight]
    return tokenizer.decode(ids), found.without_thinking


@pytest.mark.parametrize("first", [
    thought("no"), said("<think>\nhm\n</think>\n\nno"), said("hm</think> no"), said("no", reasoning="hm", weight=1),
    said("<think></think>no", reasoning="hm"),
])
def test_a_thinking_that_is_left_out_is_noticed_in_every_form(first: dict[str, Any]) -> None:
    turns = [user("a"), first, user("b"), said("<think>\nwell\n</think>\n\nyes")]
    last = "<think>\nwell\n</think>\n\nyes<|im_end|>"
    assert encoded("qwen3", turns) == (last, 1)
    assert encoded("qwen3", [*turns[:2], *turns]) == (last, 2)
    assert encoded("qwen3", [turns[0], {**first, "weight": 0}, *turns[2:]]) == (last, 0)


@pytest.mark.parametrize("template", ["qwen3", "qwen3_6", "nemotron_3_nano", "lfm2_2_5", "gptoss", "gptoss_training"])
def test_turns_that_had_no_thinking_and_those_whose_thinking_stands_are_learned(template: str) -> None:
    for empty in (said("no"), said("no", reasoning_content="")):
        words, lost = encoded(template, [user("a"), empty, user("b"), thought("yes")])
        assert ("no" in words, words.count("hm"), lost) == (True, 1, 0)
    words, lost = encoded(template, [user("a"), thought("no"), user("b"), thought("yes")])
    assert ("no" in words, words.count("hm"), lost) == (False, 1, 1)


def test_a_template_that_writes_every_thinking_has_all_learned() -> None:
    words, lost = encoded("qwen3_training", [user("a"), thought("no"), user("b"), thought("yes")])
    assert (words.count("hm"), lost) == (2, 0)
    calls = [user("a"), thought("", tool_calls=[CALL]), TOOL, thought("yes")]
    words, lost = encoded("qwen3", calls)
    assert (words.count("hm"), lost) == (2, 0)
    words, lost = encoded("qwen3", [*calls, user("b"), thought("no")])
    assert (words, lost) == ("<think>\nhm\n</think>\n\nno<|im_end|>", 2)


def test_calls_of_gpt_oss_with_thinking_are_taken() -> None:
    calls = [user("a"), thought("", tool_calls=[CALL]), TOOL]
    words, lost = encoded("gptoss", [*calls, thought("yes")])
    assert ("to=functions.add" in words, words.count("hm"), lost) == (False, 1, 1)  # written without it: not learned
    words, lost = encoded("gptoss", calls)
    assert ("to=functions.add" in words, words.count("hm"), lost) == (True, 1, 0)


def test_a_row_of_which_nothing_is_left_is_a_bad_one() -> None:
    lost = "leaves out the thinking of message 2, and no other turn is left to learn; let the row end with it"
    assert lost in encoded("qwen3", [user("a"), thought("no"), user("b")])[0]
    assert lost in encoded("qwen3", [user("a"), thought("no"), user("b"), said("yes", weight=0)])[0]
    assert "leaves out the thinking of message 2; such rows can be learned as prompt and completion" in \
        encoded("deepseekv3", [user("a"), said("hm</think>no")])[0]
