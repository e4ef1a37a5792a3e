"""Continuous decoding of a transformers model: finished rows leave the batch, waiting ones enter.

A prompt is read once for its whole group. Models of other families go through `plain.py`.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from eval.engine.decoder import Decoder
from eval.engine.experts import ExpertRecorder
from eval.engine.sampling import draw, stream
from eval.engine.stopping import Stopping
from eval.engine.types import Request, Sampled, Sampling, Written
from eval.language_model import LanguageModel

# Rows decoded at once: 15% less time than 256 with the quickstart's base on one thread; 1,024 would spare 7% more.
ROWS = 512
TOKENS = 2**17
"""Tokens that the cache holds at most, over all rows: what bounds the memory of a call."""
ROOM = 64
"""Tokens that a row's cache grows by: attention may go over the whole of it, and it is copied when it grows."""
PROMPT_TOKENS = 2**13  # tokens of prompts, padding included, that are read at once


class Row:
    """One rollout in the making."""

    def __init__(self, request: int, index: int, prompt: Sequence[int], seed: int) -> None:
        self.request, self.index, self.prompt = request, index, tuple(prompt)
        self.numbers = stream(seed)
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.experts: list[Tensor] = []

    def sampled(self, ended: bool) -> Sampled:
        return Sampled(self.ids, self.logprobs, ended, torch.cat(self.experts).cpu() if self.experts else None)

    @property
    def text(self) -> tuple[int, ...]:
        """Everything that was written so far, the prompt included."""
        return (*self.prompt, *self.ids) if self.ids else self.prompt


class NativeEngine:
    """Samples from a transformers causal language model of a family in `families.py`.

    `ends` are the ids that end an answer, `decode` makes a text of ids where texts may stop a rollout, `experts` asks
    for those that tokens took, `rows` and `tokens` bound what is in the batch: its rows, and the tokens that their
    caches hold. The weights are read afresh at each call, so the model may be in training. One row goes on whatever its
    length. Raises ValueError where texts may stop a rollout and `decode` is None.
    """

    def __init__(
        self, model: LanguageModel, ends: Collection[int], rows: int = ROWS, tokens: int = TOKENS,
        decode: Callable[[list[int]], str] | None = None, experts: Sequence[nn.Module] = (),
    ) -> None:
        self.model, self.ends, self.rows, self.tokens, self.decode = model, frozenset(ends), rows, tokens, decode
        self.recorder = ExpertRecorder() if experts else None

    def sample(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        written: Written | None = None,
    ) -> list[list[Sampled]]:
        if not requests:
            return []
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():  # no_grad would still track versions and views of each tensor
                return _Batch(self, requests, sampling, written).run(progress)
        finally:
            self.model.train(training)

    def shape(self, logits: Tensor, rows: Sequence[Row]) -> Tensor:
        """What is drawn from, [rows, vocabulary]: the model's logits. A subclass may change them."""
        return logits


class _Batch:
    """The state of one call: the rows being decoded and those that wait."""

    def __init__(
        self, engine: NativeEngine, requests: Sequence[Request], sampling: Sampling, written: Written | None
    ) -> None:
        self.engine, self.requests, self.sampling, self.written = engine, requests, sampling, written
        self.recorder = engine.recorder
        self.decoder = Decoder(engine.model, self.recorder)
        self.stopping = Stopping(sampling.stop, engine.decode) if sampling.stop else None
        self.waiting = deque(
            Row(r, i, request.prompt, seed) for r, request in enumerate(requests)
            for i, seed in enumerate(request.seeds)
        )
        self.most = max(len(request.prompt) for request in requests) + sampling.max_tokens
        self.live: list[Row] = []
        self.lengths = torch.zeros(0, dtype=torch.long, device=self.decoder.device)  # [live rows], tokens in the cache
        self.logits = torch.zeros(0)  # [live rows, vocabulary], of what comes next
        self.done: dict[tuple[int, int], Sampled] = {}

    def run(self, progress: Callable[[int, int], None] | None) -> list[list[Sampled]]:
        total = len(self.waiting)
        while self.waiting or self.live:
            free = self._limit() - len(self.live)
            # Rows are admitted in quarters of a batch, since reading prompts holds up those that are being written.
            if self.waiting and (not self.live or free >= min(len(self.waiting), max(1, self._limit() // 4))):
                self._admit(max(free, 1))
            self._step()
            if progress:
                progress(len(self.done), total)
        return [[self.done[r, i] for i in range(len(q.seeds))] for r, q in enumerate(self.requests)]

    def _limit(self) -> int:
        """How many rows there is room for, at the capacity that they have now."""
        capacity = max(self.decoder.capacity, 1)
        return min(self.engine.rows, max(1, self.engine.tokens // capacity))

    def _admit(self, free: int) -> None:
        """Read the texts of the next rows, each text once, and give its cache to every row of its group."""
        rows = [self.waiting.popleft() for _ in range(min(free, len(self.waiting)))]
        longest = max(len(row.prompt) + len(row.ids) for row in (*rows, *self.live))
        capacity = min(max(longest + ROOM, self.decoder.capacity), self.most)
        fitting = max(1, self.engine.tokens // capacity) - len(self.live)
        # At the new capacity fewer rows may fit than were free before.
        while len(rows) > max(fitting, 0 if self.live else 1):
            self.waiting.appendleft(rows.pop())
        if not rows:
            return
        self.decoder.resize(len(self.live) + len(rows), capacity, len(self.live))
        # A row that was put off is read with what it has written, so that equal texts are the unit and not requests.
        groups: dict[tuple[int, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(row.text, []).append(row)
        texts = sorted(groups, key=len)
        while texts:
            # The longest are read first: a batch is as wide as its longest text, and so holds texts of like length.
            size = max(1, PROMPT_TOKENS // len(texts[-1]))
            self._read({text: groups[text] for text in texts[-size:]})
            del texts[-size:]

    def _read(self, groups: dict[tuple[int, ...], list[Row]]) -> None:
        device, counts = self.decoder.device, [len(rows) for rows in groups.values()]
        lengths = torch.tensor([len(text) for text in groups], device=device)
        ids = torch.zeros(len(groups), int(lengths.max()), dtype=torch.long)  # [texts, seq], padded on the right
        for place, text in enumerate(groups):
            ids[place, : len(text)] = torch.tensor(text)
        # [rows]: of each row the place of its text
        which = torch.arange(len(groups), device=device).repeat_interleave(torch.tensor(counts, device=device))
        logits = self.decoder.read(ids.to(device), lengths, which, len(self.live))[which]
        if self.recorder:
            for taken, (text, rows) in zip(self.recorder.take(*ids.shape), groups.items(), strict=True):
                for row in rows:
                    row.experts = [taken[: len(text)]]
        self.logits = torch.cat([self.logits, logits]) if self.live else logits
        self.lengths = torch.cat([self.lengths, lengths[which]])
        self.live += [row for rows in groups.values() for row in rows]

    def _step(self) -> None:
        """Draw a token a row from the current logits, let finished rows go and run the others forward."""
        # One number a step from each row's own stream: what a row draws does not depend on its neighbours.
        numbers = torch.tensor([next(row.numbers) for row in self.live], device=self.decoder.device)
        logits = self.engine.shape(self.logits, self.live)
        tokens, logprobs = draw(
            logits, self.sampling.temperature, numbers, self.sampling.top_p, self.sampling.top_k, self.sampling.min_p
        )
        finished = []
        for place, (row, token, value) in enumerate(zip(self.live, tokens.tolist(), logprobs.tolist(), strict=True)):
            row.ids.append(token)
            row.logprobs.append(value)
            ended = token in self.engine.ends or (self.stopping is not None and self.stopping.ends(row.ids))
            if ended or len(row.ids) >= self.sampling.max_tokens:
                self._done(row, ended)
                finished.append(place)
        if finished:
            tokens = self._leave(finished, tokens)
        if self.live:
            self._forward(tokens)

    def _done(self, row: Row, ended: bool) -> None:
        one = self.done[row.request, row.index] = row.sampled(ended)
        if self.written:
            self.written(row.request, row.index, one)

    def _leave(self, places: list[int], tokens: Tensor) -> Tensor:
        """Rows at these places are done or put off, and rows from the end take their places. From tokens [rows] to
        those of the rows that are left."""
        left = len(self.live) - len(places)  # rows that stay
        gone = set(places)
        # Rows stay side by side at the front, and as few caches as possible are copied.
        holes = [place for place in places if place < left]
        movers = [place for place in range(left, len(self.live)) if place not in gone]
        if holes:
            self.decoder.move(holes, movers)
            self.lengths[holes] = self.lengths[movers]
            tokens[holes] = tokens[movers]
            for hole, mover in zip(holes, movers, strict=True):
                self.live[hole] = self.live[mover]
        del self.live[left:]
        self.lengths = self.lengths[:left]
        return tokens[:left]

    def _forward(self, tokens: Tensor) -> None:
        longest = int(self.lengths.max())
        if longest >= self.decoder.capacity:
            tokens = self._grow(tokens)
            longest = int(self.lengths.max())
        self.logits = self.decoder.step(tokens, self.lengths, longest)
        if self.recorder:
            for row, taken in zip(self.live, self.recorder.take(len(tokens), 1), strict=True):
                row.experts.append(taken)
        self.lengths = self.lengths + 1

    def _grow(self, tokens: Tensor) -> Tensor:
        """Longer caches; the rows that there is no more room for wait, and are read again later. From tokens [rows] to
        those of the rows that are left."""
        capacity = min(self.decoder.capacity + ROOM, self.most)
        fitting = max(1, self.engine.tokens // capacity)
        if len(self.live) > fitting:
            # Those that have written least lose least by being read again.
            order = sorted(range(len(self.live)), key=lambda place: len(self.live[place].ids))
            put_off = sorted(order[: len(self.live) - fitting])
            for place in reversed(put_off):
                self.waiting.appendleft(self.live[place])
            tokens = self._leave(put_off, tokens)
        self.decoder.resize(len(self.live), capacity, len(self.live))
        return tokens
