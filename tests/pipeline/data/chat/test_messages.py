"""Messages as published templates take them."""

from pathlib import Path
from typing import Any

import pytest
import trl

from pipeline.data.chat.messages import Messages
from pipeline.data.chat.template import ChatTemplate
from pipeline.models.tokenizer import train_tokenizer

ASKED = {"role": "user", "content": "2 + 3?"}
THOUGHT = {"role": "assistant", "content": "<think>\n2 and 3\n</think>\n\n5"}
APART = {"role": "assistant", "content": "5",
         **dict.fromkeys(("reasoning_content", "reasoning", "thinking"), "2 and 3")}


@pytest.fixture
def tokenizer() -> Any:
    return train_tokenizer(["2 + 3?"], 64)


def of(tokenizer: Any, name: str) -> ChatTemplate:
    tokenizer.chat_template = (Path(trl.__file__).parent / f"chat_templates/{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(tokenizer, {})


@pytest.mark.parametrize(("name", "given"), [
    ("gptoss", APART), ("qwen3_8", APART), ("qwen3", THOUGHT), ("qwen3_5_think", THOUGHT), ("qwen3_6", THOUGHT),
    ("glm4moe", THOUGHT), ("nemotron_3_nano", THOUGHT), ("qwen3_instruct_2507", THOUGHT), ("llama3_1", THOUGHT),
    ("deepseek_r1_distill", THOUGHT), ("gemma3", THOUGHT),
])
def test_thinking_between_tags_goes_beside_the_answer_where_the_template_does_not_put_it_there(
    tokenizer: Any, name: str, given: Any
) -> None:
    template = of(tokenizer, name)
    assert Messages(template).of(THOUGHT) == given
    assert template.render([ASKED, given]).count("</think>") <= 1


def test_what_has_nothing_to_put_apart_stays(tokenizer: Any) -> None:
    messages = Messages(of(tokenizer, "gptoss"))
    for one in ({**THOUGHT, "thinking": "2 and 3"}, {"role": "assistant", "content": "5"}, {**THOUGHT, "role": "user"}):
        assert messages.of(one) == one
    assert messages.of({**THOUGHT, "weight": 0}) == {**APART, "weight": 0}


@pytest.mark.parametrize(("name", "text"), [
    ("deepseekv3", True), ("qwen2_5", False), ("qwen3", False), ("qwen3_5_think", False), ("glm4moe", False),
    ("gptoss", False), ("llama3_1", False),
])
def test_arguments_are_text_where_the_template_takes_no_objects(tokenizer: Any, name: str, text: bool) -> None:
    template = of(tokenizer, name)
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"x": 2}}}
    said = {"role": "assistant", "content": "", "tool_calls": [call]}
    given = Messages(template).of(said)
    assert given["tool_calls"][0]["function"]["arguments"] == ('{"x": 2}' if text else {"x": 2})
    assert "add" in template.render([ASKED, given])
