"""Test problems in training data: what a test set shares with the texts that a model is trained on.

Words are compared in lower case and without punctuation, numbers by value: "1,000", "1000.0" and "$1000" are one word,
and "twelve" is 12. Scripts that put no blanks between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) have each
character for a word, which is half a word of another script where it is said below how many a text has. The detectors:

13-gram   13 words in a row are the same (GPT-3, arXiv 2005.14165, appendix C, without its rule for grams that are
          common)
8-gram    at least 70% of the test text's runs of 8 words are in one training text (PaLM, arXiv 2204.02311, section 8,
          looks for them anywhere in the training data; one text makes a pair that can be shown)
numbers   the same numbers, or all but one, in whatever order, in nearly the same words: for what is told in another
          order or with one number changed. It compares texts of like length, and tests of at least 10 words besides 2
          numbers
key       generated problems of one family that ask the same: their skeletons are equal

Problems made from templates share nearly all their words with each other by nature, and their families keep training
and test problems apart by skeleton. So a problem with a skeleton of its own is looked for by its key, and by its whole
text as "8-gram"; what its template shares with others is no leak. A text of fewer than 8 words is one run. One of fewer
than 6 occurs in much that has nothing to do with it: it must be a whole line of the training text, as a question is of
a row of questions and answers, and signs of arithmetic count as words there.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rewards.types import Problem

Detector = Literal["13-gram", "8-gram", "numbers", "key"]
Bag = frozenset[tuple[str, int]]

SHARE = 0.7  # of a test text's runs of 8 words, from which on it counts as found
LIKE = 0.9  # Dice's coefficient of two texts' words, from which on they are told in the same words
FEW_NUMBERS = 2  # numbers that a text has at least, for `numbers` to say something of it
FEW_WORDS = 10  # and words
SHORT = 6  # words below which a test text is found only where it is a whole line of the training text

# Of scripts without blanks, in which a run of letters is a clause: a text that quotes it goes on without one, too.
_UNSPACED = (
    r"\u0e01-\u0e46\u0e81-\u0ec6\u1000-\u102a\u1780-\u17b3\u3005\u3041-\u3096\u30a1-\u30fa\u30fc-\u30fe"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003134f"
)
_LETTERS = rf"[^\W\d_{_UNSPACED}]+"
_WORD = re.compile(rf"\d[\d,]*(?:\.\d+)?|\.\d+|[{_UNSPACED}]|{_LETTERS}(?:['’]{_LETTERS})?")
_SIGNS = re.compile(rf"{_WORD.pattern}|[-+*/^=<>×÷−·]")
_SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
          "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"]
_TENS = ["thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NAMED = {name: str(value) for value, name in enumerate(_SMALL)} | {
    name: str(10 * value) for value, name in enumerate(_TENS, 3)
}


@dataclass(frozen=True, slots=True)
class Text:
    """A text and what it is called in a complaint. `key` is what a generated problem asks: its family and skeleton."""

    name: str
    text: str
    key: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Leak:
    """A test text that is found in a training text, and how much of it: the share of its runs of words, or of its
    words."""

    test: Text
    train: Text
    detector: Detector
    share: float

    @property
    def grave(self) -> bool:
        """Whether it stops a run. 13 equal words in a longer text alone do not: GSM8K's own splits share some."""
        return self.detector != "13-gram" or self.share >= SHARE


def text_of(problem: Problem, reference: str) -> Text:
    """A problem as a text of the set that `reference` names."""
    own = problem.skeleton not in ("", problem.prompt)
    return Text(f"{reference} {problem.id}", problem.prompt, (problem.family, problem.skeleton) if own else None)


class TestTexts:
    """Test texts, indexed so that training texts can be held against all of them one by one."""

    __test__ = False  # pytest, this is no test

    def __init__(self, tests: Iterable[Text]) -> None:
        self.tests = list(tests)
        self._words = [words(test.text) for test in self.tests]
        self._runs: dict[Detector, dict[tuple[str, ...], set[int]]] = {
            "13-gram": defaultdict(set), "8-gram": defaultdict(set)
        }
        self._lengths: dict[Detector, set[int]] = {"13-gram": set(), "8-gram": set()}
        self._totals: dict[Detector, list[int]] = {"13-gram": [], "8-gram": []}
        self._bags: dict[Bag, set[int]] = defaultdict(set)
        self._keys: dict[tuple[str, str], int] = {}
        self._short: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for place, (test, found) in enumerate(zip(self.tests, self._words, strict=True)):
            if _length(found) < SHORT and (exact := _with_signs(test.text)):
                self._short[exact].add(place)
            whole = found if _length(found) >= SHORT else []
            self._index_runs(place, whole, "13-gram", 13 if test.key is None else 0)
            self._index_runs(place, whole, "8-gram", 8 if test.key is None else len(whole))
            if test.key is not None:
                self._keys[test.key] = place
            elif _told(found):
                # Looked up by all numbers but one, so that a text with one number changed is found without comparing
                # it with every other.
                for bag in _nearly(found):
                    self._bags[bag].add(place)

    def _index_runs(self, place: int, found: list[str], detector: Detector, size: int) -> None:
        size = min(size, len(found))
        own = set(_runs(found, size)) if size else set()
        self._totals[detector].append(len(own))
        for run in own:
            self._lengths[detector].add(size)
            self._runs[detector][run].add(place)

    def leaks(self, train: Text) -> Iterator[Leak]:
        """Every test text that this training text gives away, by every detector that says so."""
        found = words(train.text)
        if train.key in self._keys:
            yield Leak(self.tests[self._keys[train.key]], train, "key", 1.0)
        for detector in ("13-gram", "8-gram"):
            hits: Counter[int] = Counter()
            # A set, since `_totals` counts each different run once, too.
            for run in {run for length in self._lengths[detector] for run in _runs(found, length)}:
                hits.update(self._runs[detector].get(run, ()))
            for place, count in sorted(hits.items()):
                share = count / self._totals[detector][place]
                # Of 13 words in a row a single run is enough.
                if share >= (SHARE if detector == "8-gram" else 1e-9):
                    yield Leak(self.tests[place], train, detector, share)
        if self._short:
            lines = {_with_signs(line) for line in (train.text, *train.text.splitlines())}
            for place in sorted(set().union(*(self._short.get(line, set()) for line in lines))):
                yield Leak(self.tests[place], train, "8-gram", 1.0)
        if _told(found):
            for place in sorted(set().union(*(self._bags.get(bag, set()) for bag in _nearly(found)))):
                share = _alike(self._words[place], found)
                if share >= LIKE:
                    yield Leak(self.tests[place], train, "numbers", share)


def words(text: str) -> list[str]:
    """The words of a text in lower case, numbers by value."""
    return [_normal(word) for word in _WORD.findall(text.lower())]


def _with_signs(text: str) -> tuple[str, ...]:
    return tuple(_normal(word) for word in _SIGNS.findall(text.lower()))


def _runs(found: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(found[i : i + size]) for i in range(len(found) - size + 1))


def _normal(word: str) -> str:
    if _is_number(word):
        whole, _, part = word.replace(",", "").partition(".")
        part = part.rstrip("0")
        return f"{whole.lstrip('0') or '0'}{'.' + part if part else ''}"
    return _NAMED.get(word, word)


def _is_number(word: str) -> bool:
    return word[-1].isdigit() and word.isascii()


def _length(found: Sequence[str]) -> float:
    """How many words these are; a character of a script without blanks is half of one."""
    return sum(0.5 if len(word) == 1 and word > "\u0e00" else 1.0 for word in found)


def _told(found: Sequence[str]) -> bool:
    """Whether a text is told in words with numbers in them, so that `numbers` can say something of it."""
    numbers = sum(map(_is_number, found))
    return numbers >= FEW_NUMBERS and _length(found) - numbers >= FEW_WORDS


def _nearly(found: Sequence[str]) -> set[Bag]:
    """The numbers of a text without one of them: two texts share such a bag where at most one number differs."""
    numbers = Counter(word for word in found if _is_number(word))
    return {frozenset((numbers - Counter([one])).items()) for one in numbers}


def _alike(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of words that two texts have in common, numbers aside (Dice's coefficient of the bags)."""
    a, b = (Counter(word for word in found if not _is_number(word)) for found in (one, other))
    return 2 * (a & b).total() / (a.total() + b.total())
