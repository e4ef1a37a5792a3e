"""Where the tokens of two tokenizers stand for the same text.

Both have read the same trace, each in its own chat template. Where both end a token at the same character they agree,
and the tokens since the last such place are a span of each: "Hel" and "lo" of one beside "Hello" of the other (GOLD,
Patiño et al. 2025, "Unlocking On-Policy Distillation for Any Model Family", section on sequence alignment). A token
that holds part of a character, as of byte-level BPE, ends nowhere in the text, and so is never the last of a span
before the character is whole.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate
from typing import NamedTuple

from eval.language_model import Tokenizer
from pipeline.data.rows import Row

Place = tuple[int, int]
"""Characters of a text, from and to."""

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_MOST_PAIRS = 10_000_000
"""Of equal words in two texts, which one after another takes a second or two."""


class Span(NamedTuple):
    """Tokens of a student's row and of a teacher's, from and to, that stand for the same text."""

    begin: int
    end: int
    their_begin: int
    their_end: int


class _Block(NamedTuple):
    """A text that both have, by where it begins in each."""

    mine: int
    theirs: int
    size: int


class _Cut(NamedTuple):
    """A place between two tokens: it may be taken for any character from `low` to `high`, between which no token has
    any, such as a space that a tokenizer counts to none. `before` is how many tokens stand before it."""

    low: int
    high: int
    before: int


@dataclass(frozen=True)
class Reader:
    """A tokenizer, and the token that ends a turn of its template."""

    tokenizer: Tokenizer
    ends_with: int


def spans(mine: Reader, row: Row, theirs: Reader, their_row: Row) -> list[Span]:
    """Those of what is learned of a row, and of the same row as the teacher reads it. None where the rows do not have
    equally many parts that are learned; the first token of a row follows nothing, and is in no span."""
    regions, their_regions = list(_regions(row)), list(_regions(their_row))
    if len(regions) != len(their_regions):
        return []
    found: list[Span] = []
    for (begin, end), (their_begin, their_end) in zip(regions, their_regions, strict=True):
        ids, their_ids = row["input_ids"][begin:end], their_row["input_ids"][their_begin:their_end]
        inside = _of_region(mine, ids, theirs, their_ids)
        found += [Span(begin + one.begin, begin + one.end, their_begin + one.their_begin, their_begin + one.their_end)
                  for one in inside]
    return [one for one in found if one.begin and one.their_begin]


def _regions(row: Row) -> Iterator[Place]:
    """Runs of tokens that are learned."""
    learned = [False, *(weight > 0 for weight in row["weights"]), False]
    edges = [place for place in range(len(learned) - 1) if learned[place] != learned[place + 1]]
    return zip(edges[::2], edges[1::2], strict=True)


def _of_region(mine: Reader, ids: Sequence[int], theirs: Reader, their_ids: Sequence[int]) -> list[Span]:
    """The spans of tokens that stand for texts, and of the tokens that end the two turns."""
    ended = ids[-1] == mine.ends_with and their_ids[-1] == theirs.ends_with
    said, their_said = (ids[:-1], their_ids[:-1]) if ended else (ids, their_ids)
    text, places = located(mine.tokenizer, said)
    their_text, their_places = located(theirs.tokenizer, their_said)
    cuts, their_cuts = _cuts(places, len(text)), _cuts(their_places, len(their_text))
    found = [span for block in _blocks(text, their_text) for span in _of_block(block, cuts, their_cuts)]
    ends = [Span(len(said), len(ids), len(their_said), len(their_ids))] if ended else []
    return found + ends


def located(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str, list[Place]]:
    """The text of token ids, and of each where in it stands what it is for.

    The tokenizer tells that of what it reads itself, which may be other tokens than were read with what stands before
    them. Those that differ are told to stand where all of them do, so that no span ends among them.
    """
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    again: list[int] = read["input_ids"]
    places: list[Place] = read["offset_mapping"]
    if again == list(ids):
        return text, places
    most = min(len(ids), len(again))
    first = next((n for n in range(most) if ids[n] != again[n]), most)
    last = next((n for n in range(most - first) if ids[-1 - n] != again[-1 - n]), most - first)
    other = (places[first - 1][1] if first else 0, places[len(again) - last][0] if last else len(text))
    return text, [*places[:first], *[other] * (len(ids) - first - last), *places[len(again) - last :]]


def _cuts(places: Sequence[Place], length: int) -> list[_Cut]:
    """Before, between and behind tokens, where what stands before has nothing of what stands behind."""
    lows = [0, *accumulate((end for _, end in places), max)]
    highs = [*list(accumulate((begin for begin, _ in reversed(places)), min))[::-1], length]
    return [_Cut(low, high, before) for before, (low, high) in enumerate(zip(lows, highs, strict=True)) if low <= high]


def _of_block(block: _Block, cuts: Sequence[_Cut], their_cuts: Sequence[_Cut]) -> Iterator[Span]:
    """The spans between the cuts of a text that both have."""
    mine = _within(cuts, block.mine, block.size)
    theirs = _within(their_cuts, block.theirs, block.size)
    agreed: tuple[_Cut, _Cut] | None = None
    one, other = next(mine, None), next(theirs, None)
    while one and other:
        if one.low <= other.high and other.low <= one.high:
            if agreed:
                yield Span(agreed[0].before, one.before, agreed[1].before, other.before)
            agreed = one, other
            one, other = next(mine, None), next(theirs, None)
        elif one.high < other.low:
            one = next(mine, None)
        else:
            other = next(theirs, None)


def _within(cuts: Sequence[_Cut], start: int, size: int) -> Iterator[_Cut]:
    """The cuts inside a block, counted from where it begins."""
    for low, high, before in cuts:
        if low <= start + size and high >= start:
            yield _Cut(max(low - start, 0), min(high - start, size), before)


def _blocks(mine: str, theirs: str) -> list[_Block]:
    """The texts that both have, in their order, word by word where templates have written something between them."""
    if mine == theirs:
        return [_Block(0, 0, len(mine))]
    words, their_words = _WORDS.findall(mine), _WORDS.findall(theirs)
    starts, their_starts = (list(accumulate(map(len, some), initial=0)) for some in (words, their_words))
    return [_Block(starts[one], their_starts[other], starts[one + count] - starts[one])
            for one, other, count in _common(words, their_words)]


def _common(words: Sequence[str], their_words: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Where words stand in both, from where in each, and how many."""
    at = their_at = 0
    # difflib finds no place by a word that is over a hundredth of many: of text that repeats a few it finds none.
    for one, other, count in SequenceMatcher(None, words, their_words).get_matching_blocks():
        between, their_between = words[at:one], their_words[their_at:other]
        often = Counter(their_between)
        if sum(often[word] for word in between) <= _MOST_PAIRS:
            for found in SequenceMatcher(None, between, their_between, autojunk=False).get_matching_blocks():
                if found.size:
                    yield at + found.a, their_at + found.b, found.size
        if count:
            yield one, other, count
        at, their_at = one + count, other + count
