"""Where in a rendered conversation the assistant's turns are.

Most templates do not say so. Two renderings tell it: in the second each of the assistant's texts is a mark, so that
what lies between the marks is the template's and stands in the first, too. A turn begins where the template has the
assistant go on (its generation prompt), and ends with the token that ends it.
"""

import itertools
import json
import re
from collections.abc import Sequence

from eval.chat_template import Message
from pipeline.data.chat.template import ChatTemplate

Span = tuple[int, int]
"""Characters, from and to."""

_BORDERS = "\n>]"  # what a mark of a template's, or its line, ends with
_TAIL = 40  # characters at the end of a text that a template does not change


class NotFound(Exception):
    """The turns of a conversation could not be told apart, such as that of the message at `place`; never leaves this
    room."""

    def __init__(self, place: int | None = None) -> None:
        super().__init__(place)
        self.place = place


def stands_in(said: str, text: str) -> bool:
    """Whether a template has written it, as it is or as a text of JSON."""
    return said in text or json.dumps(said, ensure_ascii=False)[1:-1] in text or json.dumps(said)[1:-1] in text


def assistant_spans(template: ChatTemplate, messages: Sequence[Message], tools: object, text: str) -> list[Span]:
    """The span of each message of the assistant's in `text`, which is what the template makes of them all. Raises
    NotFound."""
    places = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    # A template may ask for the call of a tool before the tool's answer, so that it cannot be a mark.
    without_calls = [place for place in places if not messages[place].get("tool_calls")]
    answers = _answers(template, messages, tools, text)
    unfound: int | None = None
    for marked in (places, without_calls, []):
        try:
            found = dict(zip(marked, _by_marks(template, messages, tools, marked, text), strict=True))
            others = [place for place in places if place not in found]
            found |= {place: _by_prefixes(template, messages, tools, place, text) for place in others}
        except NotFound as error:
            unfound = error.place if unfound is None else unfound
            continue
        spans = [found[place] for place in places]
        if all(one[1] <= other[0] for one, other in itertools.pairwise(spans)) and \
                not any(begin <= answer < end for begin, end in spans for answer in answers):
            return spans
    raise NotFound(unfound if len(without_calls) < len(places) else None)


def _answers(template: ChatTemplate, messages: Sequence[Message], tools: object, text: str) -> list[int]:
    """Where what tools said begins: a call, a tool's answer and the words after it may be one turn of a template's, of
    which the answer is not the assistant's."""
    left, right = "\ue004", "\ue005"
    marked = [{**message, "content": f"{left}{place}{right}"} if message["role"] == "tool" else message
              for place, message in enumerate(messages)]
    if marked == list(messages):
        return []
    begins: list[int] = []
    at = 0
    for piece in re.split(f"{left}\\d+{right}", template.render(marked, tools))[:-1]:
        found = text.find(piece, at)
        if found < 0:
            raise NotFound
        at = found + len(piece)
        begins.append(at)
    return begins


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
            at = _end(text, start, written, messages[place], fixed)
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
    asked = _asked(template, before, tools)
    if asked is not None and len(asked) >= at and text.startswith(asked) and piece.startswith(text[at : len(asked)]):
        return len(asked), piece[len(asked) - at :]
    # Into turns of the past a template may write less than it has the assistant go on with.
    header = _header(template, piece)
    if header is None or not text.startswith(piece[:header], at):
        raise NotFound
    start = at + header
    opened = _opened(text[start:], template.opening)
    return start + opened, piece[header + opened :]


def _asked(template: ChatTemplate, before: Sequence[Message], tools: object) -> str | None:
    """What the model is given to go on with; None where the template refuses what is no whole conversation."""
    try:
        return template.render(before, tools, asks=True) if before else ""
    except Exception:  # a template is a program that came with the model
        return None


def _opened(text: str, opening: str) -> int:
    """How much of the generation prompt a turn begins with: a template may write only its first part into turns of the
    past, and then a word that both begin with is none of it."""
    common = _common(text[: len(opening)], opening)
    return common if common == len(opening) else max(opening.rfind(mark, 0, common) + 1 for mark in _BORDERS)


def _header(template: ChatTemplate, piece: str) -> int | None:
    """Where in what stands before a text the generation prompt begins: all of it; or its first part, at the end or with
    something behind it that opens or ends no turn, such as an empty thinking."""
    opening = template.opening
    for length in range(len(opening), 0, -1):
        found = piece.rfind(opening[:length])
        behind = found + length
        if found >= 0 and (length in (len(opening), len(piece) - found) or (
                opening[length - 1] in _BORDERS and not template.borders.search(piece, behind))):
            return found
    return None


def _end(text: str, start: int, written: str, message: Message, after: str) -> int:
    """Where a message ends that begins at `start` and is followed by `after`."""
    content = str(message["content"])
    tail = content.rpartition("</think>")[2].strip()[-_TAIL:]
    if message.get("tool_calls"):
        # A mark stood for the call, too, which the template writes beside the words.
        words = text.find(tail, start)
        ends = [] if words < 0 else _all(text, after, words + len(tail))
        if not ends:
            raise NotFound
        return ends[0]
    for said in (content, content.strip()):
        if text.startswith(written + said + after, start):
            return start + len(written + said)
    # The template has changed it, such as taken its thinking away, and left its end as it was.
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
    begins = _asked(template, messages[:place], tools)
    try:
        ends = template.render(messages[: place + 1], tools)
    except Exception as error:  # a template may refuse what is no whole conversation
        raise NotFound(place) from error
    if begins is None or not text.startswith(begins) or not text.startswith(ends) or len(ends) <= len(begins):
        raise NotFound(place)
    last = [mark for mark in template.special.finditer(ends) if mark.start() >= len(begins)]
    if not last or ends[last[-1].end() :].strip():
        return len(begins), len(ends)
    kept = last[-1].start() if last[-1].group() in template.foreign_ends else last[-1].end()
    return len(begins), kept


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
