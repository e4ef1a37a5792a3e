"""Where in a rendered conversation the assistant's turns are.

Most templates do not say so. Two renderings tell it: in the second each of the assistant's texts is a mark, so that
what lies between the marks is the template's and stands in the first, too. A turn begins where the template has the
assistant go on (its generation prompt), and ends with the token that ends it.
"""

import re
from collections.abc import Sequence

from eval.chat_template import Message
from pipeline.data.chat.template import ChatTemplate

Span = tuple[int, int]
"""Characters, from and to."""

_TAIL = 40  # characters at the end of a text that a template does not change


class NotFound(Exception):
    """The turns of a conversation could not be told apart; never leaves this room."""


def assistant_spans(template: ChatTemplate, messages: Sequence[Message], tools: object, text: str) -> list[Span]:
    """The span of each message of the assistant's in `text`, which is what the template makes of them all. Raises
    NotFound."""
    places = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    # A template may ask for the call of a tool before the tool's answer, so that it cannot be a mark.
    without_calls = [place for place in places if not messages[place].get("tool_calls")]
    for marked in (places, without_calls, []):
        try:
            found = dict(zip(marked, _by_marks(template, messages, tools, marked, text), strict=True))
            others = [place for place in places if place not in found]
            found |= {place: _by_prefixes(template, messages, tools, place, text) for place in others}
        except NotFound:
            continue
        return [found[place] for place in places]
    raise NotFound


def _between(
    template: ChatTemplate, messages: Sequence[Message], tools: object, places: Sequence[int], text: str
) -> list[str]:
    """What the template writes before, between and after the assistant's texts."""
    left, right = "\ue002", "\ue003"
    if left in text or right in text:
        raise NotFound
    marked = [{"role": "assistant", "content": f"{left}{place}{right}"} if place in places else message
              for place, message in enumerate(messages)]
    try:
        rendered = template.render(marked, tools)
    except Exception as error:  # it may ask for what was taken out of a message, such as the call of a tool
        raise NotFound from error
    pieces = re.split(f"{left}(\\d+){right}", rendered)
    if [int(place) for place in pieces[1::2]] != list(places):
        raise NotFound
    return pieces[::2]


def _by_marks(
    template: ChatTemplate, messages: Sequence[Message], tools: object, places: Sequence[int], text: str
) -> list[Span]:
    """The spans of the messages at `places`, found by marks in their place."""
    pieces = _between(template, messages, tools, places, text) if places else []
    spans: list[Span] = []
    at = 0
    for number, place in enumerate(places):
        start, written = _begin(template, messages[:place], tools, pieces[number], text, at)
        after = pieces[number + 1]
        if number + 1 < len(places):
            header = _header(template, after)
            fixed = after if header is None else after[:header]
            at = _end(text, start, written, str(messages[place]["content"]), fixed)
        else:
            at = len(text) - len(after)
            if at < start or not text.endswith(after):
                raise NotFound
        spans.append((start, at + _ending(template, after)))
    return spans


def _begin(
    template: ChatTemplate, before: Sequence[Message], tools: object, piece: str, text: str, at: int
) -> tuple[int, str]:
    """Where a turn begins whose text follows `piece`, which begins at `at`; and what the template writes between the
    two, such as an empty thinking."""
    header = _header(template, piece)
    fixed = piece if header is None else piece[:header]
    if not text.startswith(fixed, at):
        raise NotFound
    start = at + len(fixed)
    if header is not None:
        opened = _opened(text[start:], template.opening)
        return start + opened, piece[header + opened :]
    # After a tool's turn, for one, a template may have the assistant go on in another way.
    if text[:start] != template.render(before, tools, asks=True):
        raise NotFound
    return start, ""


def _opened(text: str, opening: str) -> int:
    """How much of the generation prompt a turn begins with: a template may write only its first part into turns of the
    past, and then a word that both begin with is none of it."""
    common = _common(text[: len(opening)], opening)
    return common if common == len(opening) else max(opening.rfind(mark, 0, common) + 1 for mark in "\n>]")


def _header(template: ChatTemplate, piece: str) -> int | None:
    """Where in what stands before a text the generation prompt begins: all of it, or its first part at the end."""
    opening = template.opening
    found = piece.rfind(opening) if opening else -1
    if found >= 0:
        return found
    return next((len(piece) - n for n in range(len(opening) - 1, 0, -1) if piece.endswith(opening[:n])), None)


def _end(text: str, start: int, written: str, content: str, after: str) -> int:
    """Where a text ends that begins at `start` and is followed by `after`."""
    for said in (content, content.strip()):
        if text.startswith(written + said + after, start):
            return start + len(written + said)
    # The template has changed it, such as taken its thinking away, and left its end as it was.
    tail = content.rpartition("</think>")[2].strip()[-_TAIL:]
    ends = [place for place in _all(text, after, start) if _ends_alike(text[start:place], content, tail)]
    if not ends or (not tail and len(ends) > 1):
        raise NotFound
    return ends[0]


def _ends_alike(written: str, content: str, tail: str) -> bool:
    """Whether what a template wrote is the end of a text, or ends as the text does."""
    written = written.strip()
    return written.endswith(tail) or (bool(written) and content.rstrip().endswith(written))


def _all(text: str, part: str, start: int) -> list[int]:
    found: list[int] = []
    place = text.find(part, start) if part else -1
    while place >= 0:
        found.append(place)
        place = text.find(part, place + 1)
    return found


def _ending(template: ChatTemplate, after: str) -> int:
    """How much of what follows a turn's words is its end, so that the model learns to stop."""
    if template.ends_turns:
        end = template.special.search(after)
        if end is None or after[: end.start()].strip() or end.group() in template.foreign_ends:
            return 0
        return end.end()
    return _common(after, template.ending)


def _by_prefixes(
    template: ChatTemplate, messages: Sequence[Message], tools: object, place: int, text: str
) -> Span:
    """The span of one message: from where the conversation before it ends, to where the one that ends with it does."""
    try:
        begins = template.render(messages[:place], tools, asks=True) if place else ""
        ends = template.render(messages[: place + 1], tools)
    except Exception as error:  # a template may refuse what is no whole conversation
        raise NotFound from error
    if not text.startswith(begins) or not text.startswith(ends) or len(ends) <= len(begins):
        raise NotFound
    last = [mark for mark in template.special.finditer(ends) if mark.start() >= len(begins)]
    if not last or ends[last[-1].end() :].strip():
        return len(begins), len(ends)
    kept = last[-1].start() if last[-1].group() in template.foreign_ends else last[-1].end()
    return len(begins), kept


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
