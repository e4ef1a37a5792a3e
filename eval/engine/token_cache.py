"""What a layer keeps of the tokens that it has seen, row by row."""

import torch
from torch import Tensor


class TokenCache:
    """A tensor [rows, .., capacity, ..] with an `entry` (its shape) for each token of each row.

    `place` is where among the entry's dimensions the tokens are counted: what is multiplied by it at every step should
    find it in order. With a `window` a row keeps its last `window` entries and `spare` more alone, that of position p
    at p modulo their number: where an entry lies does not matter, since keys are turned by their position before they
    are kept.
    """

    spare = 0

    def __init__(self, entry: tuple[int, ...], place: int, window: int | None, like: Tensor) -> None:
        self.entry, self.place, self.window = entry, place, window
        self.held = like.new_empty(self._shape(0, 0))

    def _shape(self, rows: int, capacity: int) -> tuple[int, ...]:
        return (rows, *self.entry[: self.place], capacity, *self.entry[self.place :])

    @property
    def capacity(self) -> int:
        """Tokens that a row has room for."""
        return self.held.shape[1 + self.place]

    def first(self, rows: int) -> Tensor:
        """What the first rows keep, [rows, .., capacity, ..]."""
        return self.held[:rows]

    def _by_token(self) -> Tensor:
        """The tensor seen as [rows, capacity, *entry]."""
        return self.held.movedim(1 + self.place, 1)

    def resize(self, rows: int, capacity: int, live: int) -> None:
        """Make room for `rows` of `capacity` tokens, and keep what the first `live` rows hold."""
        if self.window is not None:
            capacity = min(capacity, self.window + self.spare)
        old, shared = self._by_token(), min(capacity, self.capacity)
        # What was never written is masked, but must be finite: 0 times NaN is NaN.
        self.held = old.new_zeros(self._shape(rows, capacity))
        self._by_token()[:live, :shared] = old[:live, :shared]

    def fill(self, rows: slice, entries: Tensor, which: Tensor, lengths: Tensor) -> None:
        """Give rows the entries [prompts, seq, *entry] of the prompt at `which` [rows]; prompts are `lengths` [prompts]
        long."""
        capacity, seq = self.capacity, entries.shape[1]
        if seq > capacity:  # there is a window, and each place keeps the newest position that belongs there
            places = torch.arange(capacity, device=entries.device)
            last = lengths.unsqueeze(1) - 1
            # Of the positions that fall on one place the newest is kept; where a short prompt has none yet, position
            # 0 stands there and is masked.
            positions = (last - (last - places) % capacity).clamp_(min=0)  # [prompts, capacity]
            prompts = torch.arange(len(entries), device=entries.device).unsqueeze(1)
            entries, seq = entries[prompts, positions], capacity
        self._by_token()[rows, :seq] = entries[which]

    def write(self, rows: Tensor, places: Tensor, entries: Tensor) -> None:
        """Keep entries [n, *entry] of rows [n] at places [n]."""
        self._by_token()[rows, places] = entries

    def move(self, places: Tensor, sources: Tensor) -> None:
        """Copy rows `sources` [n] to `places` [n]."""
        self.held[places] = self.held[sources]
