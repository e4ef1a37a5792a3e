"""A round's rollouts scored without gradients. A round has the rows of all its updates, which seldom fit in memory
together: they are read in parts, each without columns that are padding in all of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from eval.language_model import LanguageModel
from pipeline.rl.batch import Batch
from pipeline.training.logprobs import completion_logprobs
from pipeline.training.micro_batches import as_many, split


class Teacher(Protocol):
    """Another model, to whose distributions over the next token the policy is held (`pipeline/distillation`); `weight`
    times the divergence from them is added to the loss of each token."""

    weight: float

    def told(self, batch: Batch) -> Batch:
        """The batch with the teacher's distributions of the completions' tokens."""
        ...

    def divergences(self, logits: Tensor, part: Batch) -> Tensor:
        """Of the policy from the teacher, [part, seq], with their gradient; `logits` [part, seq, vocabulary] are what
        the policy makes of each token of the completions."""
        ...


def logprobs_of(model: LanguageModel, part: Batch, temperature: float) -> Tensor:
    """Of the completions' tokens under a model, read from each prompt's first token on, [part, seq]."""
    return completion_logprobs(model, part.ids, part.mask, part.completion_ids.shape[1], temperature)[0]


@dataclass(frozen=True)
class Scoring:
    """`most` are the tokens that are read at once. Where forwards are `collective`, each process reads as many parts:
    one with fewer reads a row in vain."""

    most: int
    collective: bool = False

    def parts(self, batch: Batch) -> Iterator[tuple[Tensor, Batch]]:
        """Places [part] of rows, and the rows; of a part that is read in vain no places. All processes go through them
        together where forwards are collective."""
        parts = split(batch.mask.sum(dim=1).tolist(), self.most)
        for places in as_many(parts) if self.collective else parts:
            rows = torch.tensor(places, dtype=torch.long)
            yield rows, batch.trimmed(rows if places else torch.arange(1))

    @torch.no_grad()
    def logprobs(self, batch: Batch, score: Callable[[Batch], Tensor]) -> Tensor:
        """What `score` gives for the completions' tokens of each part, [rows, seq]; 0 where there is padding."""
        found = torch.zeros(batch.completion_ids.shape, device=batch.completion_ids.device)
        for places, part in self.parts(batch):
            scores = score(part)  # [part, seq of the part]
            if len(places):
                found[places, : scores.shape[1]] = scores.to(found.dtype)
        return found
