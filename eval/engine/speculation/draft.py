"""What drafts tokens."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from eval.engine.speculation.reading import Reading
from eval.engine.speculation.row import Row


class Drafter(Protocol):
    """Guesses the next tokens of rows; serves one call of the engine, which keeps it told where its rows are.

    most  tokens that it drafts at most
    sees  whether it wants the model's hidden states: else those that it is given are empty
    """

    most: int
    sees: bool

    def resize(self, rows: int, capacity: int, live: int) -> None:
        """As of `Decoder`: room for so many rows of `capacity` tokens; the first `live` rows stay."""
        ...

    def move(self, places: Tensor, sources: Tensor) -> None:
        """Row `sources` [n] are now at `places` [n]."""
        ...

    def read(self, ids: Tensor, hidden: Tensor, lengths: Tensor, which: Tensor, first: int) -> None:
        """Texts ids [texts, seq] of `lengths` [texts] were read, with hidden states [texts, seq, width]; the rows from
        `first` on have the text at `which` [rows]."""
        ...

    def draft(
        self, rows: Sequence[Row], counts: Sequence[int], tokens: Tensor, hidden: Tensor, reading: Reading
    ) -> list[list[int]]:
        """At most `counts` tokens for each row, which may be none. `hidden` [n, width] are those of the tokens that
        were read and stand since the last draft, `reading` says where these are, and `tokens` [n] are what was written
        after each of them."""
        ...


class Texts:
    """A drafter that looks at nothing but what rows have written; `draft` is left to it."""

    sees = False

    def resize(self, rows: int, capacity: int, live: int) -> None:
        """Nothing is kept by place."""

    def move(self, places: Tensor, sources: Tensor) -> None:
        """Nothing is kept by place."""

    def read(self, ids: Tensor, hidden: Tensor, lengths: Tensor, which: Tensor, first: int) -> None:
        """Rows bring their texts along."""
