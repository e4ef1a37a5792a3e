"""One rollout in the making."""

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from eval.engine.sampling import stream
from eval.engine.types import Sampled

AT_ONCE = 32
"""Numbers that are taken from a stream at once, since every token of every rollout asks for one."""


class Row:
    """What one rollout has written, and the uniform numbers that it is drawn by.

    most    tokens that it may have
    drafts  tokens that are guessed to follow, and that are read together with the last token written
    fresh   places of what was written last, among all tokens that were drawn in that step
    taken   the experts of this row's tokens in the last forward, [its tokens, layers, top_k], where they are recorded
    """

    def __init__(self, request: int, index: int, prompt: Sequence[int], seed: int, most: int) -> None:
        self.request, self.index, self.prompt, self.most = request, index, tuple(prompt), most
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.experts: list[Tensor] = []
        self.drafts: list[int] = []
        self.fresh = range(0)
        self.taken: Tensor | None = None
        self._stream = stream(seed)
        self._numbers: list[float] = []  # of its tokens, the first ones of the stream

    def sampled(self, ended: bool) -> Sampled:
        return Sampled(self.ids, self.logprobs, ended, torch.cat(self.experts).cpu() if self.experts else None)

    @property
    def text(self) -> tuple[int, ...]:
        """Everything that was written so far, the prompt included."""
        return (*self.prompt, *self.ids) if self.ids else self.prompt

    def numbers(self, count: int) -> list[float]:
        """The numbers that the next `count` tokens are drawn by: each token of a rollout has its own number, whichever
        step it is drawn in."""
        begin = len(self.ids)
        if len(self._numbers) < begin + count:
            self._numbers.extend(islice(self._stream, count + AT_ONCE))
        return self._numbers[begin : begin + count]
