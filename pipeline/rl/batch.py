"""A batch of graded rollouts, padded, as the loss takes it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from eval.engine.types import Sampled
from pipeline.moe.replay import OWN


@dataclass(frozen=True)
class Batch:
    """Rollouts [rows], prompts padded on the left and completions on the right.

    prompt_ids, prompt_mask          [rows, prompt]
    completion_ids, completion_mask  [rows, seq]
    advantages                       [rows]
    logprobs          of the drawn tokens under the policy that is called old: before the first update; [rows, seq]
    reference         the same under the reference model, where the objective has a KL term; [rows, seq]
    sampler_logprobs  the same under the program that drew, where that is not the policy itself (vLLM); [rows, seq]
    forced            1 where a token of the completion was written to close the thinking, or by a tool, and drawn by
                      nobody; [rows, seq], None where there are no such tokens
    teacher, teacher_ids
                      what a teacher makes of each token (see scoring.py); [rows, seq, words], [rows, seq, top_k]
    prompt_experts, completion_experts
                      experts to take again (see moe/replay.py); [rows, prompt or seq, layers, top_k]
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor
    advantages: Tensor
    logprobs: Tensor
    reference: Tensor | None = None
    sampler_logprobs: Tensor | None = None
    teacher: Tensor | None = None
    teacher_ids: Tensor | None = None
    prompt_experts: Tensor | None = None
    completion_experts: Tensor | None = None
    forced: Tensor | None = None

    def __len__(self) -> int:
        return len(self.completion_ids)

    @property
    def ids(self) -> Tensor:
        """Prompt and completion, [rows, prompt + seq]."""
        return torch.cat([self.prompt_ids, self.completion_ids], dim=1)

    @property
    def mask(self) -> Tensor:
        """1 where `ids` is no padding, [rows, prompt + seq]."""
        return torch.cat([self.prompt_mask, self.completion_mask], dim=1)

    @property
    def drawn_mask(self) -> Tensor:
        """1 where a token of a completion was drawn by the policy: what is learned from, and counted, [rows, seq]."""
        return self.completion_mask if self.forced is None else self.completion_mask * (1 - self.forced)

    @property
    def observations(self) -> Tensor:
        """How often tokens were written that nobody drew, [rows]; what tools say stands between what was drawn."""
        assert self.forced is not None
        return (self.forced.diff(dim=1, prepend=torch.zeros_like(self.forced[:, :1])) == 1).sum(dim=1)

    def drawn(self) -> "Batch":
        """With 0 in the place of log-probabilities of tokens that nobody drew: what takes no part in a loss must not
        turn it into NaN either."""
        if self.forced is None:
            return self
        names = ("logprobs", "reference", "sampler_logprobs")
        told = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(self, **{name: value.masked_fill(self.forced == 1, 0) for name, value in told.items()})

    @property
    def experts(self) -> Tensor | None:
        """Of prompt and completion, [rows, prompt + seq, layers, top_k]."""
        if self.prompt_experts is None or self.completion_experts is None:
            return None
        return torch.cat([self.prompt_experts, self.completion_experts], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """What there is, by name: `Batch(**tensors)` is the batch again."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def rows(self, places: Tensor) -> "Batch":
        """The rows at `places`, padded as in the whole batch."""
        return Batch(**{name: value[places] for name, value in self.tensors().items()})

    def trimmed(self, places: Tensor) -> "Batch":
        """The rows at `places`, without the columns that are padding in all of them."""
        prompt = int(self.prompt_mask[places].sum(dim=1).max())
        seq = int(self.completion_mask[places].sum(dim=1).max())
        return Batch(**{name: _trimmed(name, value[places], prompt, seq) for name, value in self.tensors().items()})

    def to(self, device: torch.device) -> "Batch":
        return Batch(**{name: value.to(device) for name, value in self.tensors().items()})


def _trimmed(name: str, value: Tensor, prompt: int, seq: int) -> Tensor:
    if value.dim() == 1:
        return value
    return value[:, value.shape[1] - prompt :] if name.startswith("prompt_") else value[:, :seq]


def padded(prompts: Sequence[Sequence[int]], sampled: Sequence[Sampled], pad: int) -> Batch:
    """The batch of these prompts and what was drawn for them, with the log-probabilities recorded while drawing and
    with advantages of 0."""
    prompt, seq = max(map(len, prompts)), max(len(one.ids) for one in sampled)
    rows = len(sampled)
    prompt_ids, completion_ids = torch.full((rows, prompt), pad), torch.full((rows, seq), pad)
    prompt_mask, completion_mask = torch.zeros_like(prompt_ids), torch.zeros_like(completion_ids)
    logprobs = torch.zeros(rows, seq)
    for row, (asked, drawn) in enumerate(zip(prompts, sampled, strict=True)):
        prompt_ids[row, prompt - len(asked) :] = torch.tensor(asked)
        prompt_mask[row, prompt - len(asked) :] = 1
        completion_ids[row, : len(drawn.ids)] = torch.tensor(drawn.ids)
        completion_mask[row, : len(drawn.ids)] = 1
        # As the engine recorded them: no second forward is needed for the old policy.
        logprobs[row, : len(drawn.logprobs)] = torch.tensor(drawn.logprobs)
    return Batch(prompt_ids, prompt_mask, completion_ids, completion_mask, torch.zeros(rows), logprobs)


def forced(sampled: Sequence[Sampled], seq: int) -> Tensor:
    """1 where a token was written and not drawn, [rows, seq]."""
    places = torch.zeros(len(sampled), seq, dtype=torch.long)
    for row, one in enumerate(sampled):
        for part in one.forced:
            places[row, part.start : part.stop] = 1
    return places


def ranges(marks: Sequence[int]) -> list[range]:
    """Where there are ones in a row, a range for each run of them."""
    edges = [place for place, (one, next_) in enumerate(pairwise([0, *marks, 0])) if one != next_]
    return [range(begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def dealt(batch: Batch, order: Tensor, updates: int, first: int = 0) -> list[Batch]:
    """The batch as its part of each of `updates` updates. `order` [all] are the numbers of all processes' rollouts as
    they are dealt, equally many to an update; the batch's are those from `first` on."""
    parts = [part[(part >= first) & (part < first + len(batch))] - first for part in order.chunk(updates)]
    return [batch.rows(part) for part in parts]


def joined(batches: Sequence[Batch]) -> Batch:
    """The rows of all of them, padded to the longest."""
    prompt = max(batch.prompt_ids.shape[1] for batch in batches)
    seq = max(batch.completion_ids.shape[1] for batch in batches)
    names = batches[0].tensors()
    return Batch(**{
        name: torch.cat([_widened(name, batch.tensors()[name], prompt, seq) for batch in batches]) for name in names
    })


def _widened(name: str, value: Tensor, prompt: int, seq: int) -> Tensor:
    if value.dim() == 1:
        return value
    before, after = (prompt - value.shape[1], 0) if name.startswith("prompt_") else (0, seq - value.shape[1])
    filling = OWN if name.endswith("_experts") else 0
    # `pad` counts from the last dimension.
    return functional.pad(value, (*(0, 0) * (value.dim() - 2), before, after), value=filling)
