"""The answer extractor: the only place that decides which part of a completion is its answer.

What stands after the thinking is read, without what tools wrote; an answer inside the thinking never counts. There, in
this order: the last <answer> tags, the last \\boxed{}, GSM8K's #### (or the "final answer" line that it is the heading
of), a "final answer" line, and else the whole remainder if it is short.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from rewards.boxes import last_box
from rewards.types import Completion

LONGEST_BARE_ANSWER = 1000
"""Characters. Without a marker only a remainder up to this length is taken for an answer rather than for prose."""

# Repetitions in the patterns below are bounded where they could meet another one. Models do write thousands of blanks
# in a row, over which unbounded patterns take time that grows with the square of their number.
_ANSWER_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_HASHES = re.compile(r"^[ \t]*#{4}(?!#)[ \t]*(.*)$", re.MULTILINE)
_FINAL = re.compile(
    r"\b(?:final\s{1,3}answer|answer|(?:correct|right)\s{1,3}(?:option|choice))[ \t*_`]{0,4}"
    r"(?:(?:is|=)(?![A-Za-z])[ \t*_`]{0,4}[:：]?|[:：])[ \t*_`]{0,4}"
    r"|答案[ \t*_`]{0,4}[是为:：][ \t*_`]{0,4}[:：]?[ \t*_`]{0,4}"
    r"|^(?:[#*_ \t]{0,8}final\s{1,3}|[#*_]{1,4}[ \t]?[*_]{0,3})answer[*_ \t]{0,4}$",
    re.IGNORECASE | re.MULTILINE,
)
# What is said of an answer that has been given: "I hope this answer is helpful.", "The answer is in dollars."
_SAID_OF_IT = re.compile(
    r"(?:(?:indeed|also|therefore|thus|quite|very|likely)\s{1,3}){0,2}"
    r"(?:(?:correct|right|reasonable|sensible|plausible|realistic|consistent|helpful|useful|clear|unclear|valid|verified)"
    r"(?:[.,;!)*]|\s{0,3}$|\s{1,3}(?:since|because|as|with|for)\b)|in(?:\s[a-z]{3,20}){1,3}[.!)*]{0,4}\s{0,3}$)",
    re.MULTILINE,
)
_BETWEEN_SENTENCES = re.compile(r"[.!?][*_)$]{0,4}\s|\n")
# The widely copied examples of Minerva's prompt end in this sentence, and so do completions that follow them.
_HOPE = re.compile(r"[.,;]?\s{1,3}I hope (?:it|this) is correct.*", re.IGNORECASE | re.DOTALL)
_END_OF_TEXT = re.compile(r"(?:<\|[A-Za-z_]{1,30}\|>|<｜[^｜<>\s]{1,30}｜>|</s>|<eos>|<end_of_turn>)$")
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n`]*$", re.MULTILINE)
# How a program begins that no fence has opened: the prompt has, or it goes on with a function of the prompt.
_CODE_BEGINS = re.compile(
    r"\s*^(?:[ \t]{2,}\S|(?:async[ \t]+)?def[ \t]|class[ \t]|import[ \t]|from[ \t].*[ \t]import\b|@\w|return\b)",
    re.MULTILINE,
)
_TAG_AT_END = re.compile(r"</?think>\s{0,20}\Z")
_WORDS = re.compile(r"[*_]{0,3}[A-Za-z\u4e00-\u9fff]{2,}")
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer as written (None where there is none) and where it stood, or why there is none."""

    text: str | None
    where: str
    parts: str | None = None
    """The boxes of all parts of a problem, where each part has one."""


def split_thinking(completion: Completion) -> tuple[str, str | None]:
    """(thinking, what stands after it); the second is None where the thinking was opened and never closed."""
    text = completion.text
    head, close, tail = text.rpartition("</think>")
    if close:
        # A thinking that is opened again after the last </think> is unfinished thinking.
        return (head, tail) if "<think>" not in tail else (text, None)
    if completion.in_thinking or "<think>" in text:
        return text, None
    return "", text


def own_words(completion: Completion) -> Completion:
    """The completion without what tools wrote into it: a box in a document that was looked up is nobody's answer.

    A tag of the thinking at the end of such a part stays, since it opens or closes what the model writes next.
    """
    text, words, at = completion.text, [], 0
    for begin, end in completion.observations:
        tag = _TAG_AT_END.search(text[max(at, end - 40) : end])
        words += [text[at:begin], "\n", tag.group() if tag else ""]
        at = end
    return replace(completion, text="".join([*words, text[at:]]), observations=()) if words else completion


def extract_answer(completion: Completion) -> Extraction:
    """The final answer of a completion to a question whose answer is a short text, such as a number."""
    _, remainder = split_thinking(own_words(completion))
    if remainder is None:
        return Extraction(None, "the thinking was never closed")
    remainder = _without_end_of_text(remainder)
    tagged = _last_tagged(remainder)
    if tagged is not None:
        if tagged.text is None:
            return tagged
        # A box inside the tags still marks the answer: <answer>So it is \boxed{5}.</answer>
        remainder = tagged.text
    return _boxed(remainder) or _last_hashes(remainder) or _final_line(remainder) or tagged or _bare(remainder)


def extract_code(completion: Completion, names: Collection[str] = ()) -> Extraction:
    """The program of a completion: <answer> tags, else the last fenced block, else everything after the thinking.

    With `names`, of what is asked for, it is the last block that defines one of them, or goes on with it indented,
    where there is such a block: one that only shows how it is used may stand behind.
    """
    _, remainder = split_thinking(own_words(completion))
    if remainder is None:
        return Extraction(None, "the thinking was never closed")
    tagged = _last_tagged(remainder)
    if tagged is not None:
        if tagged.text is None:
            return tagged
        remainder = tagged.text
    fenced = _last_fence(remainder, names)
    code = remainder if fenced is None else fenced
    where = "answer tag" if tagged is not None else "whole completion" if fenced is None else "fenced block"
    if not code.strip():
        return Extraction(None, f"empty {where}")
    # Indentation stays: it may go on with a function that the prompt began.
    return Extraction(_BLANK_LINES.sub("", code).rstrip(), where)


def _without_end_of_text(text: str) -> str:
    """The text without tokens such as <|im_end|> behind it, which some tokenizers decode as text."""
    text = text.rstrip()
    # Only the end is looked at: a search through a long completion would try every place in it.
    while mark := _END_OF_TEXT.search(text[-40:]):
        text = text[: -len(mark.group())].rstrip()
    return text


def _last_tagged(text: str) -> Extraction | None:
    """Content of the last <answer>..</answer>; None where no tag is written at all."""
    tags = list(_ANSWER_TAG.finditer(text))
    if not tags:
        return None
    # The last tag has to close, and the one before it to open.
    if len(tags) < 2 or not tags[-1].group(1) or tags[-2].group(1):
        return Extraction(None, "the <answer> tags do not close")
    content = text[tags[-2].end() : tags[-1].start()].strip()
    return Extraction(content, "answer tag") if content else Extraction(None, "empty <answer>")


def _last_hashes(text: str) -> Extraction | None:
    """What stands behind the last ####, as in solutions of GSM8K; None where there is none."""
    found = list(_HASHES.finditer(text))
    if not found:
        return None
    answer = found[-1][1].strip()
    # It is a heading of Markdown, too, and then the answer may stand below.
    below = _final_line(text[found[-1].start() :]) if _WORDS.match(answer) and text[found[-1].end() :].strip() else None
    if below is not None and below.text is not None:
        return below
    return Extraction(answer, "####") if answer else Extraction(None, "nothing follows the ####")


def _bare(text: str) -> Extraction:
    """The whole text as the answer, where it is short enough to be one."""
    bare = text.strip()
    if not bare:
        return Extraction(None, "empty answer")
    if len(bare) > LONGEST_BARE_ANSWER:
        return Extraction(None, "no answer is marked in a long text")
    return Extraction(bare, "bare answer")


def _boxed(text: str) -> Extraction | None:
    """What the last box holds; None where there is no box."""
    found = last_box(text)
    return None if found is None else Extraction(*found)


def _final_line(text: str) -> Extraction | None:
    """What the last "final answer is" says, to the end of its line or, where nothing follows there, of the text."""
    markers = list(_FINAL.finditer(text))
    if not markers:
        return None
    # The last one that says what it is, since a model that corrects itself says it twice.
    last, end = len(markers) - 1, len(text)
    while last and _is_said_of_it(text, markers[last]):
        last, end = last - 1, markers[last].start()
    # Up to the sentence in which something is said of it.
    sentences = [found.end() for found in _BETWEEN_SENTENCES.finditer(text, markers[last].end(), end)]
    rest = text[markers[last].end() : sentences[-1] if sentences and end < len(text) else None]
    answer = _HOPE.sub("", rest.partition("\n")[0].strip() or rest.strip())
    if not answer:
        return Extraction(None, "nothing follows the final answer line")
    return Extraction(answer, "final answer line")


def _is_said_of_it(text: str, marker: re.Match[str]) -> bool:
    states = marker.group().rstrip("*_` \t").lower().endswith("is")
    return states and _SAID_OF_IT.match(text, marker.end()) is not None


def _last_fence(text: str, names: Collection[str]) -> str | None:
    """Content of the last fenced block that is of these names, else of the last; an opened block that nothing closes
    runs to the end of the text, and one that the prompt has opened begins with it."""
    blocks = _blocks(text)
    if not blocks:
        return None
    either = "|".join(map(re.escape, names))
    of_names = re.compile(
        rf"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+(?:{either})\b|^(?:{either})[ \t]*=(?!=)|\A\n*[ \t]", re.MULTILINE)
    return next((block for block in reversed(blocks) if names and of_names.search(block)), blocks[-1])


def _blocks(text: str) -> list[str]:
    """What the fenced blocks of a text hold, in order."""
    fences = list(_FENCE.finditer(text))
    # A fence at the margin with nothing behind it may close as well as open.
    if fences and fences[0].group().rstrip() == fences[0].group(1):
        before = text[: fences[0].start()]
        if _CODE_BEGINS.match(before):
            return [before]
    found: list[str] = []
    index = 0
    while index < len(fences):
        opening = fences[index]
        mark = opening.group(1)
        # As in CommonMark, a block ends at a fence of the same sign that is at least as long and has nothing behind it,
        # so that a program may hold a shorter fence in a docstring.
        closing = next(
            (i for i in range(index + 1, len(fences)) if fences[i].group().strip().startswith(mark)
             and not fences[i].group().strip().strip(mark[0])),
            None,
        )
        if closing is None:
            return [*found, text[opening.end() :]]
        found.append(text[opening.end() : fences[closing].start()])
        index = closing + 1
    return found
