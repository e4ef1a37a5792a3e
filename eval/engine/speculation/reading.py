"""Which tokens of which rows one forward reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """Tokens [n] of rows that stand side by side, each row's in their order, and as many of one row as it has.

    row, column, position  [n]: the token's row, its number among the row's, and its position in the row's text
    rows, width            how many rows there are, and the most tokens of one
    longest                the largest position
    """

    row: Tensor
    column: Tensor
    position: Tensor
    rows: int
    width: int
    longest: int

    @classmethod
    def one_each(cls, positions: Tensor) -> "Reading":
        """One token a row, at positions [rows]."""
        rows = len(positions)
        every = torch.arange(rows, device=positions.device)
        return cls(every, torch.zeros_like(every), positions, rows, 1, int(positions.max()))

    @classmethod
    def of(cls, first: Tensor, counts: Sequence[int]) -> "Reading":
        """So many tokens of each row, from positions `first` [rows] on."""
        width = max(counts)
        if width == 1:
            return cls.one_each(first)
        device = first.device
        row = torch.arange(len(first), device=device).repeat_interleave(torch.tensor(counts, device=device))
        column = torch.cat([torch.arange(count, device=device) for count in counts])
        position = first[row] + column
        return cls(row, column, position, len(first), width, int(position.max()))

    @property
    def even(self) -> bool:
        """Whether every row has as many tokens as any."""
        return len(self.row) == self.rows * self.width

    def padded(self, values: Tensor) -> Tensor:
        """Values [n, ..] as [rows * width, ..], with zeros where a row has fewer tokens."""
        if self.even:
            return values
        whole = values.new_zeros(self.rows * self.width, *values.shape[1:])
        whole[self.row * self.width + self.column] = values
        return whole

    def parted(self, values: Tensor) -> Tensor:
        """The way back, [rows * width, ..] -> [n, ..]."""
        return values if self.even else values[self.row * self.width + self.column]

    def mask(self, capacity: int, window: int | None, reach: int, like: Tensor) -> Tensor:
        """What is added to the scores of each token and place of its row's cache, [rows, width, reach]: a token sees
        itself and what stands before it, with a window the last `window` of these.

        With a window, places are a ring: a place holds the newest position that falls on it.
        """
        places = torch.arange(reach, device=like.device)
        position = self.padded(self.position).view(self.rows, self.width, 1)
        mask = like.new_zeros(self.rows, self.width, reach)
        if window is None or (self.width == 1 and capacity <= window):
            # One token a row on a ring that is no longer than the window sees everything on it.
            return mask.masked_fill_(places > position, -torch.inf)
        newest = position.amax(dim=1, keepdim=True)
        # What was drafted and refused lies beyond, and stands for positions before it that no token here sees.
        held = newest - (newest - places) % capacity
        hidden = (held < 0) | (held > position) | (held <= position - window)
        if not self.even:
            # Where a row has no such token, something must be seen, or the softmax would be of nothing.
            hidden &= (self.padded(torch.ones_like(self.position)) == 1).view(self.rows, self.width, 1)
        return mask.masked_fill_(hidden, -torch.inf)
