"""The form of Hermes and Qwen: `<tool_call>{"name": "calculator", "arguments": {"expression": "3 + 4"}}</tool_call>`
in the assistant's turn, what tools say in turns of their own, as the chat template writes them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any  # a template's options are JSON

from eval.chat_template import Message, end_of_turn, known_options, written
from eval.errors import PromptError
from eval.language_model import Tokenizer
from eval.tools.tool import Call, Tool

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MOST_CALLS = 8
"""Of one turn; others are passed over."""

_CALL = re.compile(f"{OPEN}(.*?)(?:{CLOSE}|$)", re.DOTALL)
_SAID = re.compile(r"<tool_response>\n?(.*?)\n?</tool_response>", re.DOTALL)
_MARK = "the-assistant-calls-this"


def fits(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer's chat template is told of tools, and writes calls and answers in this form."""
    template = tokenizer.get_chat_template(tools=[])
    return "tools" in known_options(tokenizer, {}) and OPEN in template and "<tool_response>" in template


class Hermes:
    """The form for a tokenizer whose template has these options."""

    stops: tuple[str, ...] = ()

    def __init__(self, tokenizer: Tokenizer, options: Mapping[str, Any]) -> None:
        self.tokenizer, self.options = tokenizer, options
        self.end = end_of_turn(tokenizer, options)

    def calls(self, turn: str, tools: Mapping[str, Tool], *, ended: bool) -> list[Call]:
        # Thinking may speak of calls; only those behind it are made.
        return [_read(inside) for inside in _CALL.findall(turn.rpartition("</think>")[2])[:MOST_CALLS]] if ended else []

    def shown(self, said: Sequence[str], last: int) -> list[int]:
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK},
                 *({"role": "tool", "content": text} for text in said)]
        _, mark, after = written(self.tokenizer, [turns], self.options)[0].rpartition(_MARK)
        if not mark:
            raise PromptError("the tokenizer's chat template leaves out the turns before what a tool says")
        ids: list[int] = self.tokenizer(after, add_special_tokens=False)["input_ids"]
        # The model has ended its turn itself.
        return ids[1:] if ids[:1] == [last] else ids


def turns(text: str, observations: Sequence[tuple[int, int]]) -> list[Message]:
    """The messages of an answer: the assistant's, and between them what tools have said, whose characters in the text
    are given. A turn that the assistant ended at once is none."""
    found: list[Message] = []
    at = 0
    for begin, end in observations:
        found += _assistant(text[at:begin])
        # Template and tool have written this, and a tool cannot write its tags.
        found += [{"role": "tool", "content": said} for said in _SAID.findall(text[begin:end])]
        at = end
    return found + _assistant(text[at:])


def _assistant(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text.strip()}] if text.strip() else []


def _read(inside: str) -> Call:
    try:
        call = json.loads(inside)
    except (ValueError, RecursionError) as error:
        return Call("", {}, f"the call is no JSON ({' '.join(str(error).split())})")
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return Call("", {}, 'a call is {"name": .., "arguments": {..}}')
    arguments = call.get("arguments", {})
    if not isinstance(arguments, dict):
        return Call(call["name"], {}, "the arguments are no JSON object")
    return Call(call["name"], arguments)
