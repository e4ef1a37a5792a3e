"""Finding parts of an answer by its brackets."""

import re

from rewards.maths.algebra import Malformed

CLOSING = {"(": ")", "[": "]", "{": "}", "⦃": "⦄", "⟨": "⟩"}
# [^\W\d_] is a letter of any script.
WORDS = re.compile(r"[^\W\d_]+(?:[\s'’-]+[^\W\d_]+)*")
"""One word or several, with nothing else in between."""
_BETWEEN_DIGITS = re.compile(r"(?<=\d)\s+(?=\d)")


def split(text: str, separators: str) -> list[str]:
    """The parts between separators that stand in no bracket. Half-open intervals close a bracket with another kind."""
    # One depth for all kinds of brackets, because [0, 1) opens with one kind and closes with another.
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character in "([{⦃⟨":
            depth += 1
        elif character in ")]}⦄⟩":
            depth -= 1
            if depth < 0:
                raise Malformed("a bracket that nothing opened")
        elif character in separators and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    if depth:
        raise Malformed("a bracket that nothing closes")
    return [*parts, text[start:]]


def end_of_bracket(text: str) -> int:
    """Position after the bracket that closes the one at the start; -1 where a different kind closes it."""
    stack: list[str] = []
    for position, character in enumerate(text):
        if character in CLOSING:
            stack.append(CLOSING[character])
        elif character in ")]}⦄⟩":
            if not stack or stack.pop() != character:
                return -1
            if not stack:
                return position + 1
    return -1


def squeezed(text: str) -> str:
    """Without spaces, but between digits; words without their marks and in lower case, so that they compare as words
    do."""
    text = _BETWEEN_DIGITS.sub("_", text)
    if "\\text" in text or WORDS.fullmatch(text):
        return re.sub(r"\s+", "", text.replace("\\text", "")).strip("{}").casefold()
    return re.sub(r"\s+", "", text)


def respelled(text: str) -> str:
    """Without the braces and spaces that change nothing: for comparing what can only be compared as text."""
    text = re.sub(r" +", " ", re.sub(r"\{([A-Za-z0-9]+)\}", r" \1 ", text)).strip()
    return re.sub(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])", "", text)
