"""The forwards of a minibatch under the policy: every row whole, or each prompt once for all rows that answer it.

Keys and values of a prompt do not depend on what follows it, so the completions of a group can go on from one forward
of it. trl reads the prompt again in every row. Of the steps of `retort bench train` (prompts of 48 to 80 tokens,
completions of 60 on the mean, groups of 8) sharing prompts takes 39% of the tokens away.
"""

import contextlib
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from eval.language_model import LanguageModel
from pipeline.models.positions import positions_of
from pipeline.moe.balance import Balance
from pipeline.rl.batch import Batch
from pipeline.rl.scoring.rollout_replay import RolloutReplay
from pipeline.rl.scoring.scoring import Teacher
from pipeline.training.logprobs import completion_logprobs, few, head_alone, in_slices, of_logits

_OF_KEYS_AND_VALUES = {"full_attention", "sliding_attention", "chunked_attention"}
"""Layers, as configs name their kinds, whose cache another row can go on from."""


class Forwards(Protocol):
    """Gives log-probabilities and entropies of some rows of a minibatch, as often as it is asked."""

    def lengths(self) -> Tensor:
        """How many tokens a forward of each row reads, [rows]."""
        ...

    divergences: Tensor | None
    """Of the completions that were last asked about, from the teacher, [part, seq]; None without one."""

    def completion_logprobs(self, rows: Tensor, part: Batch) -> tuple[Tensor, Tensor]:
        """Of the completions of `part`, which is the minibatch's rows at `rows`: both [part, seq], 0 where there is
        padding."""
        ...


class WholeRows:
    """Each row is read from its prompt's first token on. With `entropy_moves` entropies have their gradient. With a
    `teacher` the logits of a part are held, on GPUs, too: `micro_batch_tokens` says how many."""

    def __init__(
        self, model: LanguageModel, batch: Batch, temperature: float, replay: RolloutReplay | None,
        teacher: Teacher | None = None, *, entropy_moves: bool = False,
    ) -> None:
        self.model, self.batch, self.temperature, self.replay, self.teacher = model, batch, temperature, replay, teacher
        self.entropy_moves = entropy_moves
        self.divergences: Tensor | None = None

    def lengths(self) -> Tensor:
        return self.batch.completion_mask.sum(dim=1) + self.batch.prompt_mask.sum(dim=1)

    def completion_logprobs(self, rows: Tensor, part: Batch) -> tuple[Tensor, Tensor]:
        count = part.completion_ids.shape[1]
        with self.replay.of(part) if self.replay else contextlib.nullcontext():
            if self.teacher is None:
                return completion_logprobs(
                    self.model, part.ids, part.mask, count, self.temperature, entropy_moves=self.entropy_moves
                )
            logits = self.model(
                input_ids=part.ids, attention_mask=part.mask, logits_to_keep=count + 1, use_cache=False,
                **positions_of(self.model, part.mask),
            ).logits[:, :-1]
        self.divergences = self.teacher.divergences(logits, part)
        logprobs, entropies = of_logits(
            logits, part.completion_ids, self.temperature, entropy_moves=self.entropy_moves
        )
        padding = part.completion_mask == 0
        return logprobs.masked_fill(padding, 0), entropies.masked_fill(padding, 0)


class SharedPrompts:
    """The different prompts of a minibatch, read in one forward, from which the completions go on.

    Loss and gradients are those of rows that are read whole, to rounding; so are the routings that `balance` hears of,
    in which a prompt counts once a row. With `replay`, a prompt takes the experts recorded with the first of its rows;
    with `entropy_moves` entropies have their gradient.
    """

    def __init__(
        self, model: LanguageModel, batch: Batch, temperature: float, replay: RolloutReplay | None, balance: Balance,
        teacher: Teacher | None = None, *, entropy_moves: bool = False,
    ) -> None:
        self.model, self.batch, self.replay, self.balance, self.teacher = model, batch, replay, balance, teacher
        self.score = partial(of_logits, temperature=temperature, entropy_moves=entropy_moves)
        self.divergences: Tensor | None = None
        first, self.prompt_of = _different(batch.prompt_ids, batch.prompt_mask)
        asked = batch.trimmed(first)
        self.mask = asked.prompt_mask  # [prompts, prompt]
        self.cache = DynamicCache()
        self.held = few(model, batch.completion_ids, batch.completion_ids.shape[1])
        with replay.of(asked, "prompt") if replay else contextlib.nullcontext():
            # After each prompt, [prompts, 1, vocabulary or width]. Without gradients cut: what the completions make of
            # the prompt flows back into this one forward.
            self.last = self._forward(asked.prompt_ids, self.mask, self.cache, last=1)
        self.read = balance.withdraw()

    def _forward(self, ids: Tensor, mask: Tensor, cache: DynamicCache, last: int) -> Tensor:
        """Logits [rows, last, vocabulary] of the last tokens of ids [rows, seq]; where they are too many to be held the
        hidden states [rows, last, width] that the head makes them of."""
        given = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache}
        given |= positions_of(self.model, mask, last=ids.shape[1])
        if not self.held:
            states: Tensor = self.model.get_decoder()(**given).last_hidden_state
            return states[:, -last:]
        return self.model(**given, logits_to_keep=last).logits

    @staticmethod
    def fit(model: LanguageModel, batch: Batch, balance: Balance, teacher: Teacher | None = None) -> bool:
        """Whether rows of the batch have a prompt in common and can share it. On GPUs, where this was not measured,
        they do not; nor where experts have a capacity, since whom they drop depends on who else is read; nor where
        logits cannot be held at once, and a teacher asks for them, or not the head alone makes them."""
        # Without a cache, or not one of keys and values throughout.
        layers = {*(model.config.get_text_config().to_dict().get("layer_types") or [])}
        if model.is_gradient_checkpointing or model._is_stateful or layers - _OF_KEYS_AND_VALUES:
            return False
        held = few(model, batch.completion_ids, batch.completion_ids.shape[1])
        if balance.balancing.capacity or not (held or (teacher is None and head_alone(model))):
            return False  # before prompts are compared, for which a GPU would be waited for
        first, _ = _different(batch.prompt_ids, batch.prompt_mask)
        return len(first) < len(batch)

    def lengths(self) -> Tensor:
        return self.batch.completion_mask.sum(dim=1)

    def completion_logprobs(self, rows: Tensor, part: Batch) -> tuple[Tensor, Tensor]:
        ids, prompt = part.completion_ids, self.prompt_of[rows]  # [part, seq], [part]
        cache = DynamicCache()
        for place, layer in enumerate(self.cache.layers):
            # Indexing copies, so that each part has a cache of its own to go on from.
            cache.update(layer.keys[prompt], layer.values[prompt], place)
        mask = torch.cat([self.mask[prompt], part.completion_mask], dim=1)
        with self.replay.of(part, "completion") if self.replay else contextlib.nullcontext():
            logits = self._forward(ids, mask, cache, last=ids.shape[1])
        self.balance.goes_on(self.read, prompt)
        if not self.held:
            return self._in_slices(torch.cat([self.last[prompt], logits[:, :-1]], dim=1), part)
        if self.teacher:
            every = torch.cat([self.last[prompt], logits[:, :-1]], dim=1)
            self.divergences = self.teacher.divergences(every, part)
        # A prompt's last position tells of the first token of the completion, each token of it of the next.
        first = self.score(self.last[prompt], ids[:, :1])
        others = self.score(logits[:, :-1], ids[:, 1:])
        padding = part.completion_mask == 0
        logprobs, entropies = (
            torch.cat(both, dim=1).masked_fill(padding, 0) for both in zip(first, others, strict=True)
        )
        return logprobs, entropies


    def _in_slices(self, states: Tensor, part: Batch) -> tuple[Tensor, Tensor]:
        """Of the states [part, seq, width] before each token of the completions."""
        chosen = part.completion_mask.bool()
        empty = torch.zeros(chosen.shape, dtype=torch.float32, device=states.device)
        logprobs, entropies = (
            empty.masked_scatter(chosen, values)
            for values in in_slices(self.model, states[chosen], part.completion_ids[chosen], self.score)
        )
        return logprobs, entropies


def _different(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Where the different prompts among ids [rows, seq] first stand, [prompts], and which of them each row has,
    [rows]."""
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
