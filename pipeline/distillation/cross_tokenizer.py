"""A student learns the distributions of a teacher that cuts text into other tokens: over the spans of a trace that both
end at the same characters (`alignment.py`), what can be compared of the two vocabularies (`shared_words.py`).

As in `lesson.py` a token's loss is for `mix` its divergence and for the rest its cross-entropy. A span's divergence
stands at its first token, and its later tokens move by their part of the product; a token that is in no span, such as
of what only the student's chat template writes, is learned by its cross-entropy alone.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from eval.chat_template import end_of_turn
from eval.language_model import LanguageModel, Tokenizer
from eval.prompts import settled
from eval.protocol import Prompting
from pipeline.contract.errors import StageError
from pipeline.data.rows import Collator, Row
from pipeline.disk.durable import JsonObject
from pipeline.distillation.alignment import Reader, Span, spans
from pipeline.distillation.distributions import batch_of
from pipeline.distillation.divergences import hinton
from pipeline.distillation.lesson import Divergences, Kept
from pipeline.distillation.shared_words import Seen, SharedWords
from pipeline.distillation.teachers import Told, require_numbers
from pipeline.training.logprobs import of_chosen


def reader(tokenizer: Tokenizer, how: Prompting, label: str) -> Reader:
    """A tokenizer as rows are made with it. Raises StageError where it does not tell where its tokens stand."""
    if not tokenizer.is_fast:
        raise StageError(f"the tokenizer of {label} does not tell which characters a token stands for, which method "
                         "cross_tokenizer needs: take method: traces")
    how = settled(tokenizer, how)
    end = end_of_turn(tokenizer, how.template_options) if how.template == "chat" else None
    return Reader(tokenizer, tokenizer.eos_token_id if end is None else end)


@dataclass(frozen=True)
class Aligned:
    """The teacher's rows by their numbers, with the spans that they have in common with the student's; of these rows
    the tokens of spans weigh something, and no others. `apart` are of each span the places of the first tokens of both
    among the words that are shared, or -1."""

    rows: Mapping[int, Row]
    spans: Mapping[int, Sequence[Span]]
    apart: Mapping[int, Sequence[tuple[int, int]]]
    words: SharedWords

    @classmethod
    def of(
        cls, mine: Reader, rows: Mapping[int, Row], theirs: Reader, their_rows: Mapping[int, Row], words: SharedWords
    ) -> "Aligned":
        place = {id_: number for number, id_ in enumerate(words.mine.shared.tolist())}
        their_place = {id_: number for number, id_ in enumerate(words.theirs.shared.tolist())}
        found = {number: spans(mine, row, theirs, their_rows[number]) for number, row in rows.items()}
        apart = {
            number: [(place.get(rows[number]["input_ids"][span.begin], -1),
                      their_place.get(their_rows[number]["input_ids"][span.their_begin], -1)) for span in some]
            for number, some in found.items()
        }
        weighed = {number: _weighed(their_rows[number], some) for number, some in found.items() if some}
        return cls(weighed, found, apart, words)

    def counts(self) -> dict[int, int]:
        """The spans of each row that has some."""
        return {number: len(self.spans[number]) for number in self.rows}

    def digest(self) -> str:
        total = hashlib.sha256(self.words.digest().encode())
        for number, row in self.rows.items():
            total.update(json.dumps([number, row["input_ids"], self.spans[number], self.apart[number]]).encode())
        return total.hexdigest()

    def covered(self) -> int:
        """The student's tokens that are in spans."""
        return sum(span.end - span.begin for some in self.spans.values() for span in some)


def _weighed(row: Row, some: Sequence[Span]) -> Row:
    weights = [0.0] * len(row["input_ids"])
    for span in some:
        weights[span.their_begin : span.their_end] = [1.0] * (span.their_end - span.their_begin)
    return {"input_ids": row["input_ids"], "weights": weights}


class CrossTeacher:
    """A teacher that tells of spans."""

    def __init__(self, model: LanguageModel, aligned: Aligned, temperature: float) -> None:
        self.model, self.aligned, self.temperature = model, aligned, temperature

    def to(self, device: torch.device) -> Self:
        self.model.to(device)
        return self

    @torch.no_grad()
    def told(self, numbers: Sequence[int]) -> Told:
        batch = batch_of(self.aligned, numbers)
        chosen: Tensor = batch["labels"][:, 1:] != -100
        inside = [span for number in numbers for span in self.aligned.spans[number]]
        lengths = torch.tensor([span.their_end - span.their_begin for span in inside], device=chosen.device)
        # All tokens that are chosen are of spans, one after the other.
        starts = lengths.cumsum(dim=0) - lengths
        apart = torch.full((int(lengths.sum()), 2), -1, device=chosen.device)
        apart[starts] = torch.tensor([one for number in numbers for one in self.aligned.apart[number]]).to(apart)
        seen = Seen(*of_chosen(self.model, batch["input_ids"], batch["attention_mask"], chosen, self._score, apart))
        require_numbers(seen.drawn, self.model)
        return self.aligned.words.told(seen, starts, lengths)

    def _score(self, logits: Tensor, ids: Tensor, apart: Tensor) -> tuple[Tensor, ...]:
        words = self.aligned.words
        return words.see(words.theirs, words.theirs.log_probs(logits, self.temperature), ids, apart, None)


class CrossTaught(Divergences):
    """`order` are the numbers of the data set's rows as they are trained on, of which `told` has the teacher's
    distributions at the spans of `aligned`."""

    def __init__(
        self, told: Kept, aligned: Aligned, order: Sequence[int], temperature: float, mix: float, pad: int
    ) -> None:
        super().__init__()
        self.told, self.aligned, self.order, self.temperature, self.mix = told, aligned, order, temperature, mix
        self._collate = Collator(pad)

    def collate(self, rows: Sequence[Row], places: Sequence[int]) -> JsonObject:
        """As `Collator`'s, with "span" [batch, seq], the tokens of a span at its first one, -1 at its others and 0
        elsewhere; "apart" [batch, seq, 2], "told" [batch, seq, width] and "told_places" [batch, seq, k]."""
        batch = self._collate(rows)
        words, shape = self.aligned.words, batch["input_ids"].shape
        batch["span"] = torch.zeros(*shape, dtype=torch.long)
        batch["apart"] = torch.full((*shape, 2), -1)
        batch["told"] = torch.zeros(*shape, words.width)
        if words.top_k:
            batch["told_places"] = torch.zeros(*shape, words.top_k, dtype=torch.long)
        for at, place in enumerate(places):
            number = self.order[place]
            inside = self.aligned.spans[number]
            if not inside:
                continue
            begins = torch.tensor([span.begin for span in inside])
            for begin, end, _, _ in inside:
                batch["span"][at, begin + 1 : end] = -1
                batch["span"][at, begin] = end - begin
            found = self.told.of(number)
            batch["apart"][at, begins] = torch.tensor(self.aligned.apart[number])
            batch["told"][at, begins] = found.log_probs
            if found.ids is not None:
                batch["told_places"][at, begins] = found.ids
        return batch

    def losses(self, model: LanguageModel, batch: Mapping[str, Tensor]) -> Tensor:
        """Of each token of a batch [rows, seq] after the first, [rows, seq - 1]; 0 where nothing is learned."""
        chosen = batch["labels"][:, 1:] != -100
        span, told = (batch[name][:, 1:][chosen] for name in ("span", "told"))
        beside = [batch[name][:, 1:][chosen] for name in ("apart", "told_places") if name in batch]
        hard, *seen = of_chosen(model, batch["input_ids"], batch["attention_mask"], chosen, self._score, *beside)
        starts = (span > 0).nonzero().flatten()
        words = self.aligned.words
        divergences = words.divergence(Seen(*seen), starts, span[starts], told[starts])
        self.see(divergences)
        every = torch.zeros_like(hard).index_copy(0, starts, divergences)
        losses = torch.where(span != 0, hinton(every, hard, self.temperature, self.mix), hard)
        return losses.new_zeros(chosen.shape).masked_scatter(chosen, losses)

    def _score(self, logits: Tensor, ids: Tensor, apart: Tensor, places: Tensor | None = None) -> tuple[Tensor, ...]:
        """The cross-entropy of tokens ids [tokens] under logits [tokens, vocabulary], and what is seen of them."""
        words = self.aligned.words
        seen = words.see(words.mine, words.mine.log_probs(logits, self.temperature), ids, apart, places)
        return (F.cross_entropy(logits.float(), ids, reduction="none"), *seen)
