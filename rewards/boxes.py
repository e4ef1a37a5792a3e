"""Boxes: which part of a text \\boxed{} marks."""

import re
from typing import NamedTuple

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])(?:\s{1,4}(?=\{)|[ \t]*)")
_JOINT = re.compile(r"(?:[\s,;$.]|\\quad|\\qquad|\\text\{\s*(?:and|or)\s*\}|\band\b|\bor\b|\\\)|\\\()*")
_LABEL = r"(?:\bparts?\s{1,2})?(?:\(\s?([a-h]|[1-8]|i{1,3}|iv|v)\s?\)|(?<=\bpart )([a-h1-8])\b)|^[ \t*]{0,4}([a-h])[).]"
_LABELS = re.compile(_LABEL, re.IGNORECASE | re.MULTILINE)
_BEHIND = re.compile(rf"[\s$,.)\\]{{0,6}}(?:for|in|is|as)?\s{{0,2}}(?:{_LABEL})", re.IGNORECASE)
_SEQUENCES = ("abcdefgh", "12345678", ("i", "ii", "iii", "iv", "v"))


class Boxed(NamedTuple):
    """Content of the last box (None where there is none, and `where` why), and of all where each is that of a part."""

    text: str | None
    where: str = "box"
    parts: str | None = None


def last_box(text: str) -> Boxed | None:
    """Content of the last box; None where there is no box.

    Boxes with nothing but commas, "and" or "or" between them are one answer with several parts, so that a list of
    guesses is not read as its last guess.
    """
    starts = list(_BOX.finditer(text))
    if not starts:
        return None
    if len(starts) == 1:
        alone, _ = _braced(text, starts[0].end())
        if alone is None:
            return Boxed(None, "the braces of the last box do not close")
        return Boxed(alone.strip()) if alone.strip() else Boxed(None, "empty box")
    boxes: list[tuple[int, int, str]] = []  # start, end and content of each that is in no other
    for start in starts:
        if boxes and start.start() < boxes[-1][1]:
            continue  # nested in the one before
        content, end = _braced(text, start.end())
        if content is None:
            return Boxed(None, "the braces of the last box do not close")
        # One that holds nothing only says where an answer is to be.
        if content.strip():
            boxes.append((start.start(), end, _unboxed(content)))
    joined: list[str] = []
    end_of_previous = -1
    for begin, end, content in boxes:
        # \\boxed{1} and \\boxed{2} are one answer of two parts; with words between them the last box counts.
        goes_on = joined and _JOINT.fullmatch(text, end_of_previous, begin)
        joined = [*joined, content] if goes_on and content not in joined else joined if goes_on else [content]
        end_of_previous = end
    content = ", ".join(part for part in joined if part)
    return Boxed(content, parts=_of_parts(text, boxes)) if content else Boxed(None, "empty box")


def _of_parts(text: str, boxes: list[tuple[int, int, str]]) -> str | None:
    """The contents of boxes of which each is labelled as a part, (a), (b) and so on, before it or behind it."""
    if len(boxes) < 2 or len(boxes) > len(_SEQUENCES[0]):
        return None
    ends = [0, *(end for _, end, _ in boxes)]
    before = [_labels(text[end:begin]) for end, (begin, _, _) in zip(ends, boxes, strict=False)]
    behind = [_labels(match.group()) if (match := _BEHIND.match(text, end)) else set() for _, end, _ in boxes]
    for labels in (before, behind):
        for sequence in _SEQUENCES:
            if all(label in found for label, found in zip(sequence, labels, strict=False)) and len(labels) <= len(
                sequence
            ):
                return ", ".join(content for _, _, content in boxes)
    return None


def _labels(text: str) -> set[str]:
    return {next(filter(None, match.groups())).lower() for match in _LABELS.finditer(text)}


def _unboxed(text: str) -> str:
    """The text with the boxes inside it replaced by their contents."""
    # A few levels are met in practice; a text of nothing but boxes may not cost a pass for each of them.
    for _ in range(8):
        start = _BOX.search(text)
        if start is None:
            break
        content, end = _braced(text, start.end())
        if content is None:
            break
        text = text[: start.start()] + content + text[end:]
    return text.strip()


def _braced(text: str, start: int) -> tuple[str | None, int]:
    """(content, end) of the balanced {..} at `start`, or of the one token there; (None, start) where it stays open."""
    if start >= len(text):
        return None, start
    if text[start] != "{":
        # \boxed5 is TeX for a box around one token.
        token = re.compile(r"[^\s{}$\\.,;]+").match(text, start)
        return (token.group(), token.end()) if token else (None, start)
    depth = 0
    position = start
    while position < len(text):
        character = text[position]
        # \{ is a sign of a set and opens nothing.
        if character == "\\":
            position += 2
            continue
        depth += (character == "{") - (character == "}")
        position += 1
        if depth == 0:
            return text[start + 1 : position - 1], position
    return None, start
