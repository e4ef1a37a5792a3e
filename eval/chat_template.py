"""The tokenizer's chat template: conversations as the text that a model of its kind was trained on."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any  # a message is JSON, and so are a template's options

from eval.errors import PromptError
from eval.language_model import Tokenizer
from rewards.foreign import LOADING, calling
from rewards.lazy import lazy
from rewards.registry import did_you_mean

with lazy:
    import jinja2
    from jinja2 import meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = Mapping[str, Any]
"""{"role": "user", "content": "..."}"""

OWN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}<user>{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}<assistant>{{ message['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""The template of the tokenizers that `pretrain` makes. Their models know questions alone, and no instructions."""

TODAY = date(2024, 7, 26)
"""What a template that writes the day is told (gpt-oss's, Llama 3.1's): a run is the same on every day. It is the one
that Llama 3.1's template takes where it is not told any."""

RESERVED = frozenset({
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "max_length", "messages",
    "padding", "processor_kwargs", "return_assistant_tokens_mask", "return_dict", "return_tensors",
    "sanitize_control_tokens", "strftime_now", "tokenize", "tokenizer_kwargs", "truncation",
})
"""Options that are not the template's, but of the method that fills it in."""

AT_ONCE = 1000
"""Conversations that are written as one call, which somebody watches: each takes 20 to 200 microseconds."""

_MARK = "the-assistant-says-this"
_DAY = re.compile(r"""strftime_now\(\s*(?P<quote>["'])(?P<form>.*?)(?P=quote)\s*\)""")


def written(
    tokenizer: Tokenizer, conversations: Sequence[Sequence[Message]], options: Mapping[str, Any], *, asks: bool = True
) -> list[str]:
    """Each conversation as text; with `asks` up to where the assistant goes on. Raises PromptError."""
    found: list[str] = []
    try:
        template = dated(tokenizer.get_chat_template(tools=options.get("tools")))
        for start in range(0, len(conversations), AT_ONCE):
            with calling("the chat template", LOADING):
                found += (
                    tokenizer.apply_chat_template(
                        list(one), chat_template=template, tokenize=False, add_generation_prompt=asks, **options
                    ) for one in conversations[start : start + AT_ONCE]
                )
    except Exception as error:  # a template is a program that came with the model
        said = " ".join(str(error).split())
        raise PromptError(f"the tokenizer's chat template fails: {type(error).__name__}: {said[:200]}") from error
    return found


@lru_cache
def dated(template: str) -> str:
    """A template that writes `TODAY` where it would write the day. transformers hands no function to a template, so
    that the day is put into its text."""
    return _DAY.sub(lambda match: json.dumps(TODAY.strftime(match.group("form"))), template)


def check_options(tokenizer: Tokenizer, options: Mapping[str, Any]) -> None:
    """Raises PromptError for an option that the template does not know: it would be passed over without a word."""
    if not options:
        return
    known = known_options(tokenizer, options)
    for name in options:
        if name not in known:
            listed = f"; it knows {', '.join(known)}" if known else "; it knows none"
            raise PromptError(
                f"template_options: the tokenizer's chat template has no option {name!r}"
                f"{did_you_mean(name, known) or listed}"
            )


def known_options(tokenizer: Tokenizer, options: Mapping[str, Any]) -> list[str]:
    """The options that the template knows, in alphabetical order; `options` may bring tools, for which a tokenizer can
    have a template of its own. Raises PromptError."""
    template = tokenizer.get_chat_template(tools=options.get("tools"))
    try:
        names = meta.find_undeclared_variables(_parsed(template))
    except jinja2.TemplateError as error:
        raise PromptError(f"the tokenizer's chat template is no template: {' '.join(str(error).split())}") from error
    return sorted(names - RESERVED - {"bos_token", "eos_token", "pad_token", "unk_token", "raise_exception"})


def _parsed(template: str) -> "jinja2.nodes.Template":
    # transformers' own tag, which says nothing of options.
    plain = re.sub(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}", "", template)
    return ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)


def end_of_turn(tokenizer: Tokenizer, options: Mapping[str, Any] | None = None) -> int | None:
    """The token that the template ends an assistant's turn with, such as <|im_end|>; None where it ends none with a
    token of its own. Raises PromptError."""
    conversation = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    _, mark, after = written(tokenizer, [conversation], options or {}, asks=False)[0].rpartition(_MARK)
    ids: list[int] = tokenizer(after, add_special_tokens=False)["input_ids"] if mark and after else []
    marks = {*tokenizer.get_added_vocab().values(), *tokenizer.all_special_ids}
    return next((token for token in ids if token in marks), None)
