"""Drafts from the text itself, for what copies its prompt or repeats itself."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from torch import Tensor

from eval.engine.speculation.draft import Texts
from eval.engine.speculation.reading import Reading
from eval.engine.speculation.row import Row

LONGEST, SHORTEST = 3, 2
"""Tokens of an ending that is looked for. An ending of one token stands nearly everywhere, and says little of what
follows."""


class Lookup(Texts):
    """Prompt lookup (Saxena 2023, "Prompt Lookup Decoding"; in transformers `prompt_lookup_num_tokens`): where the last
    tokens of a row stood before, what followed them there is the draft.

    The longest ending is looked for first, and of several places the newest is taken, where transformers takes the
    first. Places are kept in a table that grows with the row, so that a step costs the same whatever the length.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._known: WeakKeyDictionary[Row, _Endings] = WeakKeyDictionary()

    def draft(
        self, rows: Sequence[Row], counts: Sequence[int], tokens: Tensor, hidden: Tensor, reading: Reading
    ) -> list[list[int]]:
        found = []
        for row, count in zip(rows, counts, strict=True):
            if row not in self._known:
                self._known[row] = _Endings(row.prompt)
            known = self._known[row]
            known.add(row.ids[len(known.text) - len(row.prompt) :])
            found.append(known.following(min(count, self.most)))
        return found


class _Endings:
    """A text that grows, and behind which of its places each short run of tokens stands, the newest alone."""

    def __init__(self, text: Sequence[int]) -> None:
        self.text: list[int] = []
        self._behind: dict[tuple[int, ...], int] = {}
        self.add(text)

    def add(self, tokens: Sequence[int]) -> None:
        """Go on with these tokens. The last run of a text is known when something follows it."""
        for token in tokens:
            place = len(self.text)
            for size in range(SHORTEST, min(LONGEST, place) + 1):
                self._behind[tuple(self.text[place - size :])] = place
            self.text.append(token)

    def following(self, count: int) -> list[int]:
        """At most `count` tokens that followed, where the text's ending stood before; none where it did not."""
        for size in range(min(LONGEST, len(self.text)), SHORTEST - 1, -1):
            place = self._behind.get(tuple(self.text[-size:]))
            if place is not None:
                return self._from(place, count)
        return []

    def _from(self, place: int, count: int) -> list[int]:
        """Tokens from a place on; where the text ends they are gone through again, as in a text that repeats itself."""
        period = len(self.text) - place
        return [self.text[place + ahead % period] for ahead in range(count)]
