"""Continuous decoding of a transformers model: finished rows leave the batch, waiting ones enter.

A prompt is read once for its whole group. Models of other families go through `plain.py`.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from eval.engine.decoder import Decoder
from eval.engine.experts import ExpertRecorder
from eval.engine.sampling import draw, require_numbers
from eval.engine.speculation.draft import Drafter
from eval.engine.speculation.reading import Reading
from eval.engine.speculation.row import Row
from eval.engine.speculation.verify import Tally, standing
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


class NativeEngine:
    """Samples from a transformers causal language model of a family in `families.py`.

    `ends` are the ids that end an answer, `decode` makes a text of ids where texts may stop a rollout, `experts` asks
    for those that tokens took, `rows` and `tokens` bound what is in the batch: its rows, and the tokens that their
    caches hold. The weights are read afresh at each call, so the model may be in training. One row goes on whatever its
    length. Raises ValueError where texts may stop a rollout and `decode` is None.

    `drafter` makes what guesses tokens during a call (`speculation/`): rollouts are the same with one as without, but
    for rounding. `tally` counts what came of its guesses.
    """

    def __init__(
        self, model: LanguageModel, ends: Collection[int], rows: int = ROWS, tokens: int = TOKENS,
        decode: Callable[[list[int]], str] | None = None, experts: Sequence[nn.Module] = (),
        drafter: Callable[[Decoder, Sampling], Drafter] | None = None,
    ) -> None:
        self.model, self.ends, self.rows, self.tokens, self.decode = model, frozenset(ends), rows, tokens, decode
        self.recorder = ExpertRecorder() if experts else None
        self.drafter, self.tally = drafter, Tally()

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

    def shape(self, logits: Tensor, rows: Sequence[Row], counts: Sequence[int]) -> Tensor:
        """What is drawn from, [n, vocabulary]: the model's logits, so many of each row: of the token after those that
        it has written, and with drafts of those after each of them. A subclass may change them."""
        return logits


class _Batch:
    """The state of one call: the rows being decoded and those that wait."""

    def __init__(
        self, engine: NativeEngine, requests: Sequence[Request], sampling: Sampling, written: Written | None
    ) -> None:
        self.engine, self.requests, self.sampling, self.written = engine, requests, sampling, written
        self.recorder = engine.recorder
        self.decoder = Decoder(engine.model, self.recorder)
        self.drafter = engine.drafter(self.decoder, sampling) if engine.drafter else None
        self.spare = self.drafter.most if self.drafter else 0
        self.decoder.spare(self.spare)
        self.stopping = Stopping(sampling.stop, engine.decode) if sampling.stop else None
        self.waiting = deque(
            Row(r, i, request.prompt, seed, request.most(sampling)) for r, request in enumerate(requests)
            for i, seed in enumerate(request.seeds)
        )
        self.most = max(len(request.prompt) + request.most(sampling) for request in requests) + self.spare
        self.live: list[Row] = []
        self.lengths = torch.zeros(0, dtype=torch.long, device=self.decoder.device)  # [live rows], tokens in the cache
        # Of the tokens [n] that were read last, one of each row and its drafts: the logits of what comes after each,
        # [n, vocabulary], and the hidden states, [n, width].
        self.logits = self.hidden = torch.zeros(0)
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
        longest = max(len(row.prompt) + len(row.ids) for row in (*rows, *self.live)) + self.spare
        capacity = min(max(longest + ROOM, self.decoder.capacity), self.most)
        fitting = max(1, self.engine.tokens // capacity) - len(self.live)
        # At the new capacity fewer rows may fit than were free before.
        while len(rows) > max(fitting, 0 if self.live else 1):
            self.waiting.appendleft(rows.pop())
        if not rows:
            return
        self._resize(len(self.live) + len(rows), capacity)
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
        ids = ids.to(device)
        logits, states = self.decoder.read(ids, lengths, which, len(self.live))
        logits, hidden = logits[which], states[torch.arange(len(groups), device=device), lengths - 1][which]
        if self.drafter:
            self.drafter.read(ids, states, lengths, which, len(self.live))
        if self.recorder:
            for taken, (text, rows) in zip(self.recorder.take(*ids.shape), groups.items(), strict=True):
                for row in rows:
                    row.experts = [taken[: len(text)]]
        self.logits = torch.cat([self.logits, logits]) if self.live else logits
        self.hidden = torch.cat([self.hidden, hidden]) if self.live else hidden
        self.lengths = torch.cat([self.lengths, lengths[which]])
        self.live += [row for rows in groups.values() for row in rows]

    def _step(self) -> None:
        """Draw the next tokens of each row, let finished rows go, draft for the others and run them forward."""
        tokens = self._draw()
        if self.live:
            self._make_room()
        if self.live:
            if self.drafter:
                self._draft(self.drafter, tokens)
            self._forward()

    def _draw(self) -> Tensor:
        """Draw after every token that was read last, and write of each row what stands. Rows that are done leave. The
        tokens drawn, [n]."""
        # A number of each row's own stream for each of its tokens: what a row draws does not depend on its neighbours,
        # nor on which of its tokens are drawn in one step.
        counts = [1 + len(row.drafts) for row in self.live]
        numbers = [number for row, count in zip(self.live, counts, strict=True) for number in row.numbers(count)]
        tokens, logprobs = draw(
            self.engine.shape(self.logits, self.live, counts), self.sampling.temperature,
            torch.tensor(numbers, device=self.decoder.device), self.sampling.top_p, self.sampling.top_k,
            self.sampling.min_p
        )
        drawn, values = tokens.tolist(), logprobs.tolist()
        require_numbers(values, self.engine.model)
        finished, first = [], 0
        for place, (row, count) in enumerate(zip(self.live, counts, strict=True)):
            stand = standing(drawn[first : first + count], row.drafts) if row.drafts else 1
            if self._write(row, range(first, first + stand), drawn, values):
                finished.append(place)
            first += count
        if self.drafter:
            stood = [len(row.fresh) - 1 for row in self.live]
            self.lengths = self.lengths + torch.tensor(stood, device=self.decoder.device)
        if finished:
            self._leave(finished)
        return tokens

    def _write(self, row: Row, places: range, drawn: Sequence[int], logprobs: Sequence[float]) -> bool:
        """Write what stands of a row, at these places of all that was drawn, up to its end, and tell whether it is
        done. Every token of every rollout goes through here."""
        count, done, ended = 0, False, False
        for count, place in enumerate(places, start=1):  # noqa: B007  # how many were written
            row.ids.append(drawn[place])
            row.logprobs.append(logprobs[place])
            ended = drawn[place] in self.engine.ends or (self.stopping is not None and self.stopping.ends(row.ids))
            done = ended or len(row.ids) >= row.most
            if done:
                break
        if row.taken is not None:
            row.experts.append(row.taken[:count])
            row.taken = None
        if self.drafter:
            self.engine.tally.see(len(row.drafts), len(places) - 1, count)
            row.fresh, row.drafts = places[:count], []
        if done:
            one = self.done[row.request, row.index] = row.sampled(ended)
            if self.written:
                self.written(row.request, row.index, one)
        return done

    def _leave(self, places: list[int]) -> None:
        """Rows at these places are done or put off, and rows from the end take their places."""
        left = len(self.live) - len(places)  # rows that stay
        gone = set(places)
        # Rows stay side by side at the front, and as few caches as possible are copied.
        holes = [place for place in places if place < left]
        movers = [place for place in range(left, len(self.live)) if place not in gone]
        if holes:
            to, of = (torch.tensor(some, device=self.decoder.device) for some in (holes, movers))
            self.decoder.move(to, of)
            if self.drafter:
                self.drafter.move(to, of)
            self.lengths[holes] = self.lengths[movers]
            for hole, mover in zip(holes, movers, strict=True):
                self.live[hole] = self.live[mover]
        del self.live[left:]
        self.lengths = self.lengths[:left]

    def _draft(self, drafter: Drafter, drawn: Tensor) -> None:
        """Have drafts made for every row, none longer than what it may still write. `drawn` [n] are the tokens drawn
        after those that were read last."""
        counts = [len(row.fresh) for row in self.live]
        # Of what was read last, what stands.
        places = torch.tensor([place for row in self.live for place in row.fresh], device=self.decoder.device)
        since = Reading.of(self.lengths - torch.tensor(counts, device=self.decoder.device), counts)
        # The last token that may be written needs no draft: it is drawn after the one before.
        most = [min(drafter.most, row.most - len(row.ids) - 1) for row in self.live]
        hidden = self.hidden[places] if drafter.sees else self.hidden
        drafts = drafter.draft(self.live, most, drawn[places], hidden, since)
        for row, own in zip(self.live, drafts, strict=True):
            row.drafts = own

    def _forward(self) -> None:
        """Read the last token of each row and its drafts."""
        counts = [1 + len(row.drafts) for row in self.live]
        tokens = [token for row in self.live for token in (row.ids[-1], *row.drafts)]
        self.logits, self.hidden = self.decoder.step(
            torch.tensor(tokens, device=self.decoder.device), Reading.of(self.lengths, counts)
        )
        if self.recorder:
            taken = self.recorder.take(1, len(tokens))[0]
            for row, own in zip(self.live, torch.split(taken, counts), strict=True):
                row.taken = own
        self.lengths = self.lengths + 1

    def _make_room(self) -> None:
        """Longer caches where they are full; the rows that there is no more room for wait, and are read again later."""
        longest = int(self.lengths.max()) + self.spare
        if longest < self.decoder.capacity:
            return
        capacity = min(longest + ROOM, self.most)
        fitting = max(1, self.engine.tokens // capacity)
        if len(self.live) > fitting:
            # Those that have written least lose least by being read again.
            order = sorted(range(len(self.live)), key=lambda place: len(self.live[place].ids))
            put_off = sorted(order[: len(self.live) - fitting])
            for place in reversed(put_off):
                self.waiting.appendleft(self.live[place])
            self._leave(put_off)
        self._resize(len(self.live), capacity)

    def _resize(self, rows: int, capacity: int) -> None:
        self.decoder.resize(rows, capacity, len(self.live))
        if self.drafter:
            self.drafter.resize(rows, capacity, len(self.live))
