"""Calls as Hermes and Qwen write them."""

import json
from typing import Any

import pytest

from eval.prompts import render, settled
from eval.protocol import Prompting
from eval.tools.box import toolbox
from eval.tools.rows import row_of
from eval.tools.tool import Call
from eval.tools.use import ToolUse
from pipeline.contract.dataset import ALL
from pipeline.contract.dataset.forms import record
from pipeline.models.tokenizer import train_tokenizer
from rewards.types import Completion

TEMPLATE = (  # Qwen3's, without its thinking
    "{% if tools %}<|im_start|>system\ntools: {{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}{% if message.role == 'tool' %}"
    "{% if loop.first or messages[loop.index0 - 1].role != 'tool' %}<|im_start|>user{% endif %}"
    "{{ '\n<tool_response>\n' + message.content + '\n</tool_response>' }}"
    "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}<|im_end|>\n{% endif %}"
    "{% else %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% if message.tool_calls %}{% for call in message.tool_calls %}<tool_call>\n{{ call | tojson }}\n</tool_call>"
    "{% endfor %}{% endif %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HOW = Prompting(template="chat", tools=ToolUse(("calculator",)))


@pytest.fixture
def tokenizer() -> Any:
    made = train_tokenizer(["user\n", "assistant\n", "system", "84"], 96)
    made.chat_template = TEMPLATE
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.add_tokens(["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"])
    return made


def test_the_template_is_told_of_the_tools(tokenizer: Any) -> None:
    [text] = render(tokenizer, ["What is 12 * 7?"], HOW)
    system, _, user = text.partition("<|im_end|>\n")
    [tool] = json.loads(system.partition("tools: ")[2])
    assert tool["function"]["name"] == "calculator"
    assert user == "<|im_start|>user\nWhat is 12 * 7?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(("turn", "calls"), [
    ('<tool_call>\n{"name": "calculator", "arguments": {"expression": "1 + 1"}}\n</tool_call><|im_end|>',
     [Call("calculator", {"expression": "1 + 1"})]),
    ('<tool_call>{"name": "a"}</tool_call>\n<tool_call>{"name": "b"}</tool_call>', [Call("a", {}), Call("b", {})]),
    ('<think>I might <tool_call>{"name": "a"}</tool_call></think>No.<|im_end|>', []),
    ("<tool_call>12</tool_call>", [Call("", {}, 'a call is {"name": .., "arguments": {..}}')]),
    ('<tool_call>{"name": "a", "arguments": "x"}</tool_call>', [Call("a", {}, "the arguments are no JSON object")]),
    ("It is 84.<|im_end|>", []),
])
def test_calls_are_read(tokenizer: Any, turn: str, calls: list[Call]) -> None:
    form = toolbox(tokenizer, settled(tokenizer, HOW)).form
    assert form.calls(turn, {}, ended=True) == calls
    assert form.calls(turn, {}, ended=False) == []


def test_what_is_no_json_is_told(tokenizer: Any) -> None:
    form = toolbox(tokenizer, settled(tokenizer, HOW)).form
    [call] = form.calls("<tool_call>{name: calculator}</tool_call>", {}, ended=True)
    assert call.fault.startswith("the call is no JSON (Expecting property name")


def test_what_tools_say_is_shown_as_the_template_writes_it(tokenizer: Any) -> None:
    box = toolbox(tokenizer, settled(tokenizer, HOW))
    call = Call("calculator", {"expression": "12 * 7"})
    end, start = (tokenizer.convert_tokens_to_ids(mark) for mark in ("<|im_end|>", "<|im_start|>"))
    ids = box.shown([call, call], end)
    after = ("\n<|im_start|>user\n<tool_response>\n84\n</tool_response>\n<tool_response>\n84\n</tool_response>"
             "<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(ids) == after
    assert ids[1] == start
    assert tokenizer.decode(box.shown([call, call], start)) == f"<|im_end|>{after}", "where something else ended it"


def test_an_answer_becomes_messages_with_what_tools_said_in_turns_of_its_own(tokenizer: Any) -> None:
    call = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "12 * 7"}}\n</tool_call>'
    said = "\nuser\n<tool_response>\n84\n</tool_response>\n<tool_response>\nerror: no\n</tool_response>\nassistant\n"
    text = f"I ask.\n{call}{said}It is 84."
    begins = text.index(said)
    row = row_of("What is 12 * 7?", Completion(text, observations=((begins, begins + len(said)),)),
                 settled(tokenizer, HOW))
    assert row["messages"] == [
        {"role": "user", "content": "What is 12 * 7?"}, {"role": "assistant", "content": f"I ask.\n{call}"},
        {"role": "tool", "content": "84"}, {"role": "tool", "content": "error: no"},
        {"role": "assistant", "content": "It is 84."},
    ]
    [tool] = row["tools"]
    assert tool["function"]["name"] == "calculator"


def test_a_turn_that_ends_at_once_is_no_message(tokenizer: Any) -> None:
    call = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "12 * 7"}}\n</tool_call>'
    said = "\nuser\n<tool_response>\n84\n</tool_response>\nassistant\n"
    completion = Completion(f"{call}{said}\n", observations=((len(call), len(call) + len(said)),))
    row = row_of("What is 12 * 7?", completion, settled(tokenizer, HOW))
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant", "tool"]
    assert isinstance(record(row, "mine.jsonl:1", ALL), dict)
