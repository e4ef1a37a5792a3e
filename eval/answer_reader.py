"""From the ids that a model wrote to the completion that is graded: the one place where answers are decoded."""

import bisect
from collections.abc import Collection, Sequence

from eval.answer_formats import answer_format
from eval.ends import turn_ends
from eval.engine.stopping import Stopping
from eval.language_model import Tokenizer
from rewards.extract import split_thinking
from rewards.types import Completion


class AnswerReader:
    """Reads completions of models with this tokenizer in the one form of `eval.answer_formats`.

    `ends` are the ids that end an answer (`eval.ends.ends_of`), `stop` the texts before which it is cut.
    """

    def __init__(self, tokenizer: Tokenizer, ends: Collection[int] = (), stop: Sequence[str] = ()) -> None:
        self.tokenizer, self.format, self.stop = tokenizer, answer_format(tokenizer), tuple(stop)
        self.ends = turn_ends(tokenizer) | frozenset(ends)
        self._stopping = Stopping(self.stop, self._plain) if stop else None
        added = tokenizer.added_tokens_decoder
        special = {token for token, one in added.items() if one.special} | set(tokenizer.all_special_ids)
        self._kept = {token for token, one in added.items() if one.content in self.format.marks}
        # Of special tokens only what says where thinking and answer begin and end is part of a text.
        self._dropped = special - self._kept if special & self._kept else None

    def opens(self, prompt: Sequence[int]) -> bool:
        """Whether what follows these ids of a prompt begins inside the thinking."""
        # The tag is some tokens in vocabularies that do not have it as one.
        return self.format.opens(self._plain(list(prompt[-16:])))

    def ended(self, ids: Sequence[int]) -> bool:
        """Whether a completion ended by itself, and not where its tokens did."""
        return bool(ids) and (ids[-1] in self.ends or (self._stopping is not None and self._stopping.ends(list(ids))))

    def stopped(self, begun: Sequence[int], ids: Sequence[int]) -> int | None:
        """How many of `ids` complete a stop text that begins in what was written before them; None where none does. The
        engine that drew them has looked at these alone."""
        # What stands before whole is no reason to stop: it was written by force.
        if self._stopping is None or self._stopping.ends(list(begun)):
            return None
        for count in range(1, min(len(ids), self._stopping.reach) + 1):
            if self._stopping.ends([*begun, *ids[:count]]):
                return count
        return None

    def text(self, ids: Sequence[int], *, opened: bool = False) -> str:
        """The completion in the one form; `opened` where its prompt opens the thinking."""
        return self.format.read(self.raw(ids), opened=opened)

    def raw(self, ids: Sequence[int]) -> str:
        """The text with the tokens that mark its parts, as this format has them, and no others."""
        if ids and ids[-1] in self.ends - self._kept:
            ids = ids[:-1]  # it is no special token of every tokenizer
        if self._dropped is None:
            return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return self._plain([one for one in ids if one not in self._dropped])

    def completion(self, ids: Sequence[int], *, opened: bool, finished: bool) -> Completion:
        """What is graded. Tokens behind a stop text count, too: they were computed."""
        text, cut_off = cut(self.text(ids, opened=opened), self.stop)
        return Completion(text, finished or cut_off, len(ids))

    def thinking_tokens(self, ids: Sequence[int], *, opened: bool) -> int:
        """How many tokens of a completion stand before what closes its thinking for the last time, what opens it
        included: all of them where nothing closes it, and none where there is no thinking. `opened` where its prompt
        opens the thinking."""
        raw = self.raw(ids)
        thinking, answer = split_thinking(Completion(self.format.read(raw, opened=opened)))
        if answer is None:
            return len(ids)
        ends = raw.rfind(self.format.closing)
        if not thinking or ends < 0:
            return 0
        return self._tokens_before(ids, ends)

    def answered(self, ids: Sequence[int], begun: int) -> int:
        """How many tokens of a completion stand before it goes back to thinking in what was written after the first
        `begun`: before the first mark that ends there, wherever it begins. All of them where there is none."""
        raw, known = self.raw(ids), len(self.raw(ids[:begun]))
        places = [raw.find(mark, max(0, known - len(mark) + 1)) for mark in self.format.thinking_marks]
        found = [place for place in places if place >= 0]
        return self._tokens_before(ids, min(found)) if found else len(ids)

    def _tokens_before(self, ids: Sequence[int], place: int) -> int:
        """How many tokens stand before this place of their text."""
        return bisect.bisect_right(range(len(ids)), place, key=lambda count: len(self.raw(ids[:count]))) - 1

    def spans(self, ids: Sequence[int], places: Sequence[range], *, opened: bool) -> tuple[tuple[int, int], ...]:
        """The characters of a completion's text that tokens at these places stand for, from and to."""
        def before(count: int) -> int:
            return len(self.text(ids[:count], opened=opened))

        return tuple((before(place.start), before(place.stop)) for place in places)

    def _plain(self, ids: Sequence[int]) -> str:
        # Nothing is cleaned up: programs and formulas have spaces before full stops and commas.
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """(the text before the first of the stop texts, whether there was one)."""
    # The engine stops after the token that completes a stop text, and that token may hold more.
    places = [place for place in (text.find(mark) for mark in stop) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)
