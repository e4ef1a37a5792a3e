"""Calls that a chat template writes between `<tool_call>` and `</tool_call>` in the assistant's turn, and what tools
say in turns of their own, between `<tool_response>` and `</tool_response>`.

What stands between the tags of a call is of one of several forms. The template says of which: it is given a call to
write, and the form that reads the same call back is its own.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any  # a template's options are JSON

from eval.chat_template import Message, known_options, written
from eval.errors import PromptError
from eval.language_model import Tokenizer
from eval.tools.formats import glm, hermes, qwen_coder
from eval.tools.tool import Call, Tool
from rewards.extract import split_thinking
from rewards.types import Completion

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MOST_CALLS = 8
"""Of one turn; others are passed over."""

Reader = Callable[[str, Mapping[str, Tool]], Call]
"""Reads what stands between the tags of a call."""

READERS: tuple[Reader, ...] = (hermes.read, qwen_coder.read, glm.read)

_CALL = re.compile(f"{OPEN}(.*?)(?:{CLOSE}|$)", re.DOTALL)
_SAID = re.compile(r"<tool_response>\n?(.*?)\n?</tool_response>", re.DOTALL)
_MARK = "the-assistant-calls-this"
_ASKED = "the-user-asks-this"
# The tool of a call that a template is given to write, with an argument that is text and one that is none.
_TOOL = Tool("look_up", {"type": "function", "function": {
    "name": "look_up", "description": "Looks for words.",
    "parameters": {"type": "object", "required": ["words", "most"], "properties": {
        "words": {"type": "string", "description": "What to look for."},
        "most": {"type": "integer", "description": "How many places."},
    }},
}}, str)
_WRITTEN = Call("look_up", {"words": "3 + 4 = 7", "most": 2})
_TOLD = "it stands there"


def reader_of(tokenizer: Tokenizer, options: Mapping[str, Any]) -> Reader | None:
    """What reads the calls that the tokenizer's chat template writes with these options; None where it is not told of
    tools, or writes calls without these tags. Raises PromptError where it writes something else between them."""
    template = tokenizer.get_chat_template(tools=[])
    if "tools" not in known_options(tokenizer, {}) or OPEN not in template or "<tool_response>" not in template:
        return None
    call = {"id": "call00000", "type": "function",
            "function": {"name": _WRITTEN.tool, "arguments": dict(_WRITTEN.arguments)}}
    turns: list[Message] = [
        {"role": "user", "content": _ASKED}, {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": _WRITTEN.tool, "tool_call_id": "call00000", "content": _TOLD},
    ]
    text = written(tokenizer, [turns], {**options, "tools": [_TOOL.schema]})[0].rpartition(_ASKED)[2]
    inside = _CALL.findall(text)
    if _SAID.findall(text) == [_TOLD]:
        for read in READERS:
            if [read(one, {_TOOL.name: _TOOL}) for one in inside] == [_WRITTEN]:
                return read
    shown = " ".join("".join(inside).split())[:120]
    raise PromptError("the tokenizer's chat template writes calls of tools in a form that is not known here, "
                      f"{shown!r} between {OPEN} and {CLOSE}: leave tools out, or ask with prompt.template: r1, where "
                      "a call is <call>NAME ARGUMENT</call>")


class InTemplate:
    """The form for a tokenizer whose template has these options, and whose calls `read` reads."""

    stops: tuple[str, ...] = ()

    def __init__(self, tokenizer: Tokenizer, options: Mapping[str, Any], read: Reader) -> None:
        self.tokenizer, self.options, self.read = tokenizer, options, read

    def calls(self, turn: str, tools: Mapping[str, Tool], *, ended: bool) -> list[Call]:
        # Thinking may speak of calls; only those behind it are made.
        _, answer = split_thinking(Completion(turn))
        inside = _CALL.findall(answer)[:MOST_CALLS] if ended and answer else []
        return [self.read(one, tools) for one in inside]

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
