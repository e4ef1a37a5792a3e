"""Prompts of a GRPO batch, read once for the whole group that answers them, with gradients.

Keys and values of a prompt do not depend on what follows it, so the completions of a group can go on from one forward of it. trl
reads the prompt again in every row. Of the steps of `retort bench train` (prompts of 48 to 80 tokens, completions of 60 on the mean,
groups of 8) that takes 39% of the tokens away.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from pipeline.moe.balance import Balance
from pipeline.rl.rollout_replay import RolloutReplay
from pipeline.training.chunks import trim
from pipeline.training.logprobs import few, of_logits


class SharedPrompts:
    """The different prompts of a batch, read in one forward, from which `completion_logprobs` goes on as often as it is asked.

    Loss and gradients are those of rows that are read whole, to rounding; so are the routings that `balance` hears of, in which a
    prompt counts once a row. With `replay`, a prompt takes the experts recorded with the first of its rows.
    """

    def __init__(self, model: Any, inputs: Mapping[str, Any], balance: Balance, replay: RolloutReplay | None) -> None:
        self.model, self.balance, self.replay = model, balance, replay
        first, self.prompt_of = _different(inputs["prompt_ids"], inputs["prompt_mask"])
        asked = trim(inputs, first)
        self.mask = asked["prompt_mask"]
        self.cache = DynamicCache()
        with replay.of(asked, "prompt") if replay else contextlib.nullcontext():
            read = model(input_ids=asked["prompt_ids"], attention_mask=self.mask, past_key_values=self.cache, logits_to_keep=1)
        self.last = read.logits  # after each prompt, [prompts, 1, vocabulary]
        self.read = balance.withdraw()
        self.rows = torch.zeros(0, dtype=torch.long)

    @staticmethod
    def fit(trainer: Any, model: Any, inputs: Mapping[str, Any], balance: Balance) -> bool:
        """Whether rows of the batch have a prompt in common and can share it. On GPUs, where this was not measured, they do not; nor
        where experts have a capacity, since whom they drop depends on who else is read; nor where logits cannot be held at once, or
        trl's own auxiliary loss is on."""
        ids = inputs["completion_ids"]
        if balance.balancing.capacity or trainer.aux_loss_enabled or not few(trainer, model, ids, ids.shape[1]):
            return False  # before prompts are compared, for which a GPU would be waited for
        first, _ = _different(inputs["prompt_ids"], inputs["prompt_mask"])
        return len(first) < len(ids)

    @contextlib.contextmanager
    def answered(self, rows: Tensor, inputs: Mapping[str, Any]) -> Iterator[None]:
        """While this lasts, `completion_logprobs` is asked of these rows [part] of the batch, whose `inputs` are given."""
        self.rows = rows
        with self.replay.of(inputs, "completion") if self.replay else contextlib.nullcontext():
            yield

    def completion_logprobs(self, ids: Tensor, mask: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """As `logprobs.completion_logprobs` has them, of completions ids [part, count] with their mask."""
        prompt = self.prompt_of[self.rows]
        cache = DynamicCache()
        for place, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[prompt], layer.values[prompt], place)
        logits = self.model(input_ids=ids, attention_mask=torch.cat([self.mask[prompt], mask], dim=1), past_key_values=cache).logits
        self.balance.goes_on(self.read, prompt)
        first, others = of_logits(self.last[prompt], ids[:, :1], temperature), of_logits(logits[:, :-1], ids[:, 1:], temperature)
        logprobs, entropies = (torch.cat(both, dim=1).masked_fill(mask == 0, 0) for both in zip(first, others, strict=True))
        return logprobs, entropies


def _different(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Where the different prompts among ids [rows, seq] first stand, [prompts], and which of them each row has, [rows]."""
    found: dict[tuple[int, ...], int] = {}
    first: list[int] = []
    which: list[int] = []
    for row, (tokens, real) in enumerate(zip(ids.tolist(), mask.sum(dim=1).tolist(), strict=True)):
        prompt = tuple(tokens[len(tokens) - real :])
        if prompt not in found:
            found[prompt] = len(first)
            first.append(row)
        which.append(found[prompt])
    return torch.tensor(first, device=ids.device), torch.tensor(which, device=ids.device)
