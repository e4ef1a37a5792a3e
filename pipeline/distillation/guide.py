"""A teacher of rollouts: the reverse KL divergence of a policy from it, at every token that the policy has drawn.

GKD (Agarwal et al. 2023, arXiv 2306.13649, section 3.1, with lambda 1 and the reverse divergence) learns at what the
student writes, which is where its mistakes are; Thinking Machines (2025, "On-policy distillation") takes the divergence
as a reward of the drawn token. Here it is exact over the vocabulary, or over the likeliest words and the rest of them
as one word, and not an estimate from the drawn token. As in both, no gradient goes through what was drawn. Left out are
other divergences (Jensen-Shannon) and mixing in a data set's answers.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.distillation.divergences import reverse_kl
from pipeline.distillation.teachers import Teachers, Told
from pipeline.rl.batch import Batch
from pipeline.rl.scoring.scoring import Scoring
from pipeline.training.logprobs import LOGITS


class Guide:
    """What a training on rollouts asks a teacher (`rl/scoring/scoring.py: Teacher`). The teachers are whole on every
    process."""

    def __init__(self, teachers: Teachers, weight: float, scoring: Scoring) -> None:
        self.teachers, self.weight = teachers, weight
        self.scoring = replace(scoring, collective=False)  # each process goes through its own rows

    def told(self, batch: Batch) -> Batch:
        """The batch with the teachers' distributions of the completions' tokens."""
        rows, seq = batch.completion_ids.shape
        words, device = self.teachers.words, batch.completion_ids.device
        log_probs = torch.zeros(rows, seq, words.width, device=device)
        ids = None if words.top_k is None else torch.zeros(rows, seq, words.top_k, dtype=torch.long, device=device)
        for places, part in self.scoring.parts(batch):
            at_once = max(1, LOGITS // (part.completion_ids.shape[1] * words.known))
            for some in torch.split(torch.arange(len(places)), at_once):
                told, where = self._told(part.trimmed(some), seq)
                log_probs[places[some]] = _spread(where, told.log_probs)
                if ids is not None and told.ids is not None:
                    ids[places[some]] = _spread(where, told.ids)
        return replace(batch, teacher=log_probs, teacher_ids=ids)

    def _told(self, part: Batch, seq: int) -> tuple[Told, Tensor]:
        """Of every token of the completions, and where these stand, [part, seq]."""
        chosen = part.mask.bool()[:, 1:]
        # A token is told of where it is predicted: the first of a completion by the last of its prompt.
        chosen[:, : part.prompt_ids.shape[1] - 1] = False
        where = functional.pad(part.completion_mask.bool(), (0, seq - part.completion_mask.shape[1]))
        return self.teachers.told(part.ids, part.mask, chosen), where

    def divergences(self, logits: Tensor, part: Batch) -> Tensor:
        """Of the policy from the teachers, [part, seq], with their gradient; 0 where there is padding."""
        assert part.teacher is not None
        mine = self.teachers.words.seen(logits, self.teachers.temperature, part.teacher_ids)
        found = reverse_kl(mine, part.teacher.exp())
        return found.masked_fill(part.completion_mask == 0, 0)


def _spread(where: Tensor, values: Tensor) -> Tensor:
    """Values [chosen, words] where they stand, [rows, seq, words], and 0 elsewhere."""
    found = values.new_zeros(*where.shape, values.shape[-1])
    found[where] = values
    return found
