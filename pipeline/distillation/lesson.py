"""Learning teachers' distributions over the tokens of traces, beside the tokens themselves (Hinton, Vinyals and Dean
2015, arXiv 1503.02531, section 2), in the training of `training/supervised.py`.

For a language model every token of a trace is a classification of its own (Kim and Rush 2016, arXiv 1606.07947, section
3.1, "word-level"). Left out are hidden states and attention, which only models of one shape could be held to.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from accelerate.utils import reduce
from torch import Tensor
from torch.nn import functional as F

from eval.language_model import LanguageModel
from pipeline.data.rows import Collator, Row
from pipeline.disk.durable import JsonObject
from pipeline.distillation.divergences import forward_kl, hinton
from pipeline.distillation.teachers import Told, Words
from pipeline.training.logprobs import of_chosen
from pipeline.training.placement import own_device


class Kept(Protocol):
    """Where teachers' distributions are kept."""

    def of(self, row: int) -> Told:
        """Of all that is told of a row of the data set, one after the other."""
        ...


class Divergences:
    """How far a student was from what it is told, for the log."""

    def __init__(self) -> None:
        self._seen: Tensor | None = None  # since the last row of the log: the sum of divergences, and their number
        self.last: dict[str, float] = {}

    def state(self) -> JsonObject:
        return {"seen": self._seen, "last": self.last}

    def restore(self, state: JsonObject) -> None:
        seen: Tensor | None = state["seen"]
        self._seen, self.last = None if seen is None else seen.to(own_device()), state["last"]

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """What is seen while this lasts is not told."""
        before = self._seen
        yield
        self._seen = before

    def see(self, divergences: Tensor) -> None:
        seen = torch.stack([divergences.detach().double().sum(), divergences.new_tensor(len(divergences)).double()])
        self._seen = seen if self._seen is None else self._seen + seen

    def figures(self) -> dict[str, float]:
        """The mean divergence, of all processes, since this was asked last."""
        if self._seen is not None:
            total, count = reduce(self._seen, "sum").tolist()
            self.last = {"divergence": total / max(1.0, count)}
            self._seen = None
        return self.last


class Taught(Divergences):
    """`order` are the numbers of the data set's rows as they are trained on. A token's loss is `mix` times its
    divergence from the teachers at `temperature`, and for the rest the cross-entropy of what stands there."""

    def __init__(
        self, told: Kept, order: Sequence[int], words: Words, temperature: float, mix: float, pad: int
    ) -> None:
        super().__init__()
        self.told, self.order, self.words, self.temperature, self.mix = told, order, words, temperature, mix
        self._collate = Collator(pad)

    def collate(self, rows: Sequence[Row], places: Sequence[int]) -> JsonObject:
        """As `Collator`'s, with "told" [batch, seq, words] and "told_ids" [batch, seq, k]."""
        batch = self._collate(rows)
        learned = batch["labels"] != -100
        learned[:, 0] = False  # which follows nothing
        found = [self.told.of(self.order[place]) for place in places]
        batch["told"] = torch.zeros(*learned.shape, self.words.width)
        batch["told"][learned] = torch.cat([one.log_probs for one in found])
        if self.words.top_k:
            batch["told_ids"] = torch.zeros(*learned.shape, self.words.top_k, dtype=torch.long)
            batch["told_ids"][learned] = torch.cat([one.ids for one in found if one.ids is not None])
        return batch

    def losses(self, model: LanguageModel, batch: Mapping[str, Tensor]) -> Tensor:
        """Of each token of a batch [rows, seq] after the first, [rows, seq - 1]; 0 where nothing is learned."""
        chosen = batch["labels"][:, 1:] != -100
        beside = [batch[name][:, 1:][chosen] for name in ("told", "told_ids") if name in batch]
        losses, divergences = of_chosen(
            model, batch["input_ids"], batch["attention_mask"], chosen, self._score, *beside
        )
        self.see(divergences)
        return losses.new_zeros(chosen.shape).masked_scatter(chosen, losses)

    def _score(
        self, logits: Tensor, ids: Tensor, told: Tensor, told_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Losses and divergences of tokens ids [tokens] under logits [tokens, vocabulary]."""
        hard = F.cross_entropy(logits.float(), ids, reduction="none")
        divergences = forward_kl(self.words.seen(logits, self.temperature, told_ids), told.exp())
        return hinton(divergences, hard, self.temperature, self.mix), divergences
