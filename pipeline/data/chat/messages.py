"""The assistant's messages as a chat template takes them, where rows have them in another form."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any  # a message is JSON

from eval.answer_formats import CLOSE, OPEN
from eval.assistant_turns import THOUGHTS, message_of
from eval.chat_template import Message
from pipeline.data.chat.template import ChatTemplate

_THINKS = f"{OPEN}\nthought-of\n{CLOSE}\n\nsaid"


class Messages:
    """What a template is given of an assistant's message: thinking that is written between tags goes beside the answer
    where the template would take it for a part of the answer (gpt-oss's, Qwen3.8's), and the arguments of calls are
    text where the template takes no objects (DeepSeek's)."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    def of(self, message: Message) -> Message:
        """The message; others than the assistant's as they are."""
        if message["role"] != "assistant":
            return message
        content = str(message["content"])
        if CLOSE in content and self._thinks_apart and not any(name in message for name in THOUGHTS):
            message = {**message, **message_of(content, apart=True)}
        if message.get("tool_calls") and self._calls_in_text:
            message = {**message, "tool_calls": [_in_text(call) for call in message["tool_calls"]]}
        return message

    @cached_property
    def _thinks_apart(self) -> bool:
        """Whether the template has a place for thinking, and does not put there what stands between tags."""
        whole, apart = (self._rendered(message_of(_THINKS, apart)) for apart in (False, True))
        return "thought-of" in apart and whole.count(CLOSE) > apart.count(CLOSE)

    @cached_property
    def _calls_in_text(self) -> bool:
        call = {"id": "call00000", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
        said = {"role": "assistant", "content": "", "tool_calls": [call]}
        return not self._rendered(said) and bool(self._rendered({**said, "tool_calls": [_in_text(call)]}))

    def _rendered(self, message: Message) -> str:
        """What the template writes of it; "" where it does not take it."""
        try:
            return self._template.render([{"role": "user", "content": "?"}, message])
        except Exception:  # a template is a program that came with the model
            return ""


def _in_text(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the arguments as text, which stand in `function` or beside its name without one."""
    function, arguments = call.get("function"), call.get("arguments")
    if isinstance(function, Mapping):
        return {**call, "function": _in_text(function)}
    if not isinstance(arguments, Mapping):
        return call
    return {**call, "arguments": json.dumps(arguments, ensure_ascii=False)}
