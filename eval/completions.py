"""The completion in what an OpenAI-compatible server answered; nothing in it is taken for granted."""

import json
import re
from typing import TypeVar

from eval.answer_formats import HARMONY, is_harmony
from eval.http_client import NoAnswer, shortened
from rewards.types import Completion

Kind = TypeVar("Kind")


class NoText(NoAnswer):
    """An answer of the right form without any text, as filters and refusals leave it: another try may bring one, and
    after the last one it is what the model said."""

    completion = Completion("")


BYTES_A_TOKEN = 256
"""The longest tokens of common vocabularies are runs of 128 characters; thinking may come under two names."""

_LONGEST_THINKING = 10_000_000
"""Tokens of thinking that a server may claim."""

BYTES_BESIDE = 2**20
"""For everything in an answer besides its text."""

MOST_STRINGS = 2**16

TORN = ("abort", "aborted", "cancelled", "error", "network_error", "insufficient_system_resource")
"""Why servers (vLLM and SGLang, those of DeepSeek and Zhipu) ended an answer that neither model nor request has ended;
others have words of their own for the end of a whole one."""

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_SURROGATES = re.compile("[\ud800-\udfff]")
_KINDS = {dict: "object", list: "list", str: "text", bool: "truth value", int: "whole number", float: "number"}


def most_bytes(tokens: int) -> int:
    """How long an answer of so many tokens can be."""
    return BYTES_BESIDE + BYTES_A_TOKEN * tokens


def completion_of(body: bytes, before: str, max_tokens: int) -> Completion:
    """The completion, with `before` put in front of it and thinking that the server keeps apart in its tags.

    A count of tokens that is not there is 0. Raises NoAnswer where this is no answer to a request for at most
    `max_tokens` tokens, and NoText where it holds no text though its tokens did not end.
    """
    answer = _json(body)
    choices = _inside(answer, "choices", list)
    if not choices:
        raise NoAnswer(f"the answer has no choices: {_start(body)}")
    choice = choices[0]
    message = _inside(choice, "message", dict)
    holder, key = (choice, "text") if message is None else (message, "content")
    text = _inside(holder, key, str)
    # The older name and the one of OpenRouter and of newer vLLMs; where both are there, they say the same.
    thinking = _inside(holder, "reasoning_content", str) or _inside(holder, "reasoning", str)
    if (reason := choice.get("finish_reason")) in TORN:
        raise NoAnswer(f"the answer was cut off by the server (finish_reason {reason!r})")
    finished = reason != "length"
    # Where the tokens ended in thinking that the server does not tell, there is none, however often one asks.
    if text is None and not thinking and finished:
        ended = _inside(choice, "finish_reason", str)
        raise (NoText if ended else NoAnswer)(f"the answer holds no text: {_start(body)}")
    text = HARMONY.read(text, opened=False) if text and is_harmony(text) else text or ""
    if thinking:
        # Where the tokens ended inside the thinking its tag stays open, so that the verdict is TRUNCATED.
        closed = "</think>" if text or finished else ""
        text = f"<think>{thinking}{closed}{text}"
    # JSON can say half of a character; no file can hold it.
    return Completion(_SURROGATES.sub("\ufffd", before + text), finished, _tokens(answer, max_tokens))


def _tokens(answer: object, max_tokens: int) -> int:
    usage = _inside(answer, "usage", dict)
    tokens = _inside(usage, "completion_tokens", int) if usage else None
    details = _inside(usage, "completion_tokens_details", dict) if usage else None
    thinking = _inside(details, "reasoning_tokens", int) if details else None
    # Some servers count a token or two more than they were allowed; none counts twice as many, but for thinking that is
    # bounded by something else.
    most = 2 * max_tokens + (thinking if thinking and 0 < thinking <= _LONGEST_THINKING else 0)
    if tokens is not None and not 0 <= tokens <= most:
        raise NoAnswer(f"the answer claims {str(tokens)[:20]} tokens, where at most {max_tokens} were asked for")
    return tokens or 0


def _json(body: bytes) -> object:
    if _is_mostly_structure(body):
        raise NoAnswer(f"the answer is mostly no text: {_start(body)}")
    try:
        found: object = json.loads(body.decode("utf-8-sig"))
    except RecursionError as error:
        raise NoAnswer("the answer is JSON that is nested too deep") from error
    except ValueError as error:
        raise NoAnswer(f"the answer is no JSON ({error}): {_start(body)}") from error
    return found


def _is_mostly_structure(body: bytes) -> bool:
    """Whether it has more outside of strings, or more strings, than any answer.

    An empty list takes two bytes of an answer and sixty of memory, a string as many.
    """
    outside = end = 0
    for count, string in enumerate(_STRINGS.finditer(body)):
        outside += string.start() - end
        end = string.end()
        if count > MOST_STRINGS or outside > BYTES_BESIDE:
            return True
    return outside + len(body) - end > BYTES_BESIDE


def _inside(holder: object, key: str, kind: type[Kind]) -> Kind | None:
    """`holder[key]`, which has to be a `kind`; None where it is null or not there. Raises NoAnswer."""
    if not isinstance(holder, dict):
        raise NoAnswer(f"the answer has a {_kind(holder)} where an object with {key!r} belongs")
    value = holder.get(key)
    # Python's truth values are numbers, JSON's are not.
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise NoAnswer(f"{key!r} in the answer is a {_kind(value)}, where a {_KINDS[kind]} belongs")
    return value


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


def _start(body: bytes) -> str:
    return shortened(body[:100].decode(errors="replace")) or "nothing"
