"""Which messages of the assistant's a template writes without their thinking.

Many templates write the thinking of the last turn alone. An earlier one then stands behind the prompt that a model is
asked with, and its words where the model should begin to think: learned, it would teach not to.
"""

import re
from collections.abc import Collection, Sequence

from eval.answer_formats import CLOSE
from eval.assistant_turns import THOUGHTS
from eval.chat_template import Message
from pipeline.data.chat.spans import stands_in
from pipeline.data.chat.template import ChatTemplate

_THOUGHT = re.compile("(<think>|\\A)((?:(?!<think>).)*?)</think>", re.DOTALL)
"""A thinking between tags; the prompt may have opened the first one."""

_LEFT, _RIGHT = "\ue006", "\ue007"
"""Characters for private use: what stands between them is the number of a message."""


def thoughts_of(message: Message) -> list[str]:
    """What was thought, beside the words or between tags before them; nothing that is empty."""
    found = [*(str(message.get(name) or "") for name in THOUGHTS),
             *(match[2] for match in _THOUGHT.finditer(str(message["content"])))]
    return [thought.strip() for thought in found if thought.strip()]


def left_out(template: ChatTemplate, messages: Sequence[Message], tools: object) -> list[int]:
    """The places of the assistant's messages, before the last one, of whose thinking the template writes nothing: a
    mark stands for each."""
    places = [place for place, message in enumerate(messages[:-1])
              if message["role"] == "assistant" and thoughts_of(message)]
    if not places:
        return []
    marks = {place: f"{_LEFT}{place}{_RIGHT}" for place in places}
    text = template.render([_thinking(message, marks[place]) if place in marks else message
                            for place, message in enumerate(messages)], tools)
    return [place for place in places if not stands_in(marks[place], text)]


def without(
    template: ChatTemplate, messages: Sequence[Message], tools: object, places: Collection[int], text: str
) -> list[Message]:
    """The messages, those at `places` without their thinking where the template makes the same `text` of them: turns
    are found more easily by what stands in it."""
    for strip in (str, _lines_off, str.strip):  # as templates do with what is behind the thinking
        less = [_silent(message, strip(str(message["content"]).rpartition(CLOSE)[2])) if place in places else message
                for place, message in enumerate(messages)]
        if writes(template, less, tools, text):
            return less
    return list(messages)


def _lines_off(words: str) -> str:
    return words.lstrip("\n")


def writes(template: ChatTemplate, messages: Sequence[Message], tools: object, text: str) -> bool:
    """Whether the template makes this text of the messages."""
    try:
        return template.render(messages, tools) == text
    except Exception:  # a template is a program that came with the model, and may miss something
        return False


def _thinking(message: Message, mark: str) -> Message:
    fields = {name: mark for name in THOUGHTS if str(message.get(name) or "").strip()}
    # An empty one stays: a template may write it into the words of a message whose thinking is in a field.
    content = _THOUGHT.sub(lambda match: f"{match[1]}{mark}{CLOSE}" if match[2].strip() else match[0],
                           str(message["content"]))
    return {**message, **fields, "content": content}


def _silent(message: Message, words: str) -> Message:
    return {**{key: value for key, value in message.items() if key not in THOUGHTS}, "content": words}
