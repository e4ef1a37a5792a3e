"""A tokenizer's chat template, and what it writes around the turns of a conversation."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any  # a message is JSON, and so are a template's options

from eval.chat_template import Message, dated
from eval.language_model import Tokenizer

_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_ASKED, _SAID = "\ue000", "\ue001"
"""Characters for private use, which stand for a text whose surroundings are looked at."""


class ChatTemplate:
    """A template with options such as `enable_thinking`. Rendering raises whatever the template raises: it is a program
    that came with the model."""

    def __init__(self, tokenizer: Tokenizer, options: Mapping[str, Any]) -> None:
        self.tokenizer, self.options = tokenizer, dict(options)

    def render(self, messages: Sequence[Message], tools: object = None, *, asks: bool = False) -> str:
        """The text of a conversation; with `asks` up to where the assistant goes on."""
        text: str = self.tokenizer.apply_chat_template(
            list(messages), chat_template=self.source, tools=tools, tokenize=False, add_generation_prompt=asks,
            **self.options
        )
        return text

    @cached_property
    def source(self) -> str:
        return dated(self.tokenizer.get_chat_template())

    @cached_property
    def marks_turns(self) -> bool:
        """Whether the template says itself, by {% generation %}, what is the assistant's."""
        return bool(_GENERATION.search(self.source))

    @cached_property
    def opening(self) -> str:
        """What it writes to have the assistant go on, such as "<|im_start|>assistant\\n"."""
        asked = [{"role": "user", "content": _ASKED}]
        before, after = self.render(asked), self.render(asked, asks=True)
        return after.removeprefix(before) if after.startswith(before) else ""

    @cached_property
    def ending(self) -> str:
        """What it writes after the assistant's last words, such as "<|im_end|>\\n"."""
        return self._probe[2]

    @property
    def ends_turns(self) -> bool:
        """Whether a special token ends the assistant's turn."""
        return bool(self.special.search(self.ending))

    @cached_property
    def _probe(self) -> tuple[str, str, str]:
        """What a conversation of two turns has before, between and after their texts."""
        text = self.render([{"role": "user", "content": _ASKED}, {"role": "assistant", "content": _SAID}])
        before, _, rest = text.partition(_ASKED)
        between, _, after = rest.partition(_SAID)
        return before, between, after

    @cached_property
    def special(self) -> re.Pattern[str]:
        """The tokenizer's special tokens as they are written."""
        ids = set(self.tokenizer.all_special_ids)
        return _any_of(token.content for id_, token in self.tokenizer.added_tokens_decoder.items()
                       if token.special or id_ in ids)

    @cached_property
    def control(self) -> re.Pattern[str]:
        """The special tokens that begin and end turns."""
        return _any_of({*self.special.findall("".join(self._probe))})

    @cached_property
    def borders(self) -> re.Pattern[str]:
        """The special tokens that the generation prompt begins with, and that end the assistant's turn."""
        first = self.special.match(self.opening)
        return _any_of({*self.special.findall(self.ending), *([first.group()] if first else [])})

    @cached_property
    def foreign_ends(self) -> frozenset[str]:
        """Special tokens that end other turns and not the assistant's last one. gpt-oss ends a message of the past with
        <|end|>, which does not end an answer, and so must not be learned as its end."""
        _, between, after = self._probe
        return frozenset(self.special.findall(between)) - frozenset(self.special.findall(after))


def _any_of(texts: Any) -> re.Pattern[str]:
    # Longer ones first: a token may be the beginning of another.
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
