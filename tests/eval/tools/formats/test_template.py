"""Calls and what tools say as the chat template writes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import trl

from eval.errors import PromptError
from eval.prompts import render, settled
from eval.protocol import Prompting
from eval.tools.box import toolbox
from eval.tools.formats import glm, hermes, qwen_coder
from eval.tools.formats.template import Reader, reader_of
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
    "{% if message.tool_calls %}{% for call in message.tool_calls %}<tool_call>\n{{ call.function | tojson }}\n"
    "</tool_call>{% endfor %}{% endif %}<|im_end|>\n{% endif %}{% endfor %}"
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
    ('<think>I might <tool_call>{"name": "a"}</tool_call><|im_end|>', []),
    ("It is 84.<|im_end|>", []),
])
def test_calls_are_read(tokenizer: Any, turn: str, calls: list[Call]) -> None:
    form = toolbox(tokenizer, settled(tokenizer, HOW)).form
    assert form.calls(turn, {}, ended=True) == calls
    assert form.calls(turn, {}, ended=False) == []


@pytest.mark.parametrize(("opened", "turn", "calls"), [
    (True, "", 0), (True, "</think>", 1), (False, "", 1), (True, "</think>Or <think>", 0),
])
def test_no_call_is_made_in_thinking_that_nothing_closes(tokenizer: Any, opened: bool, turn: str, calls: int) -> None:
    ids = tokenizer(turn + '<tool_call>{"name": "a"}</tool_call><|im_end|>', add_special_tokens=False)["input_ids"]
    assert len(toolbox(tokenizer, settled(tokenizer, HOW)).calls(ids, opened=opened, ended=True)) == calls


@pytest.mark.parametrize(("name", "read"), [
    ("qwen2_5", hermes.read), ("qwen3", hermes.read), ("qwen3_instruct_2507", hermes.read),
    ("qwen3_5_think", qwen_coder.read), ("qwen3_6", qwen_coder.read), ("qwen3_8", qwen_coder.read),
    ("nemotron_3_nano", qwen_coder.read), ("nemotron_3_5_lightning", qwen_coder.read), ("glm4moe", glm.read),
    ("llama3_1", None), ("gptoss", None), ("lfm2_2_5", None), ("gemma3", None),
])
def test_published_templates_say_how_they_write_calls(tokenizer: Any, name: str, read: Reader | None) -> None:
    tokenizer.chat_template = (Path(trl.__file__).parent / f"chat_templates/{name}.jinja").read_text(encoding="utf-8")
    assert reader_of(tokenizer, {}) is read


@pytest.mark.parametrize("written", ["{{ call | tojson }}", "{{ call.function.name }}()", ""])
def test_a_form_that_is_not_known_is_told(tokenizer: Any, written: str) -> None:
    tokenizer.chat_template = TEMPLATE.replace("{{ call.function | tojson }}", written)
    with pytest.raises(PromptError, match="writes calls of tools in a form that is not known here"):
        settled(tokenizer, HOW)


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
