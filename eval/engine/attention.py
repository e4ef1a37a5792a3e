"""Cached attention for decoding, over the weights of transformers' own attention modules."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any  # modules of transformers, whose parts differ by family

import torch
from torch import Tensor
from torch.nn import functional as F

from eval.engine.speculation.reading import Reading
from eval.engine.token_cache import TokenCache
from eval.engine.weights import Norm, Projection, rotate, side_by_side


class CachedAttention(ABC):
    """One layer's attention, and what it keeps of every token, in one cache or several."""

    whole: bool
    """Whether decoding goes over all that a row has room for, or over as much as the longest row has."""

    def __init__(self, caches: Sequence[TokenCache], window: int | None) -> None:
        self.caches, self.window = caches, window

    def spare(self, count: int) -> None:
        """Have a window's ring keep so many tokens more, since what is drafted and refused takes places of it."""
        for cache in self.caches:
            cache.spare = count

    @abstractmethod
    def project(self, hidden: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [n, width], complex turns [n, 1, rotary width / 2] -> queries [n, ..], entries [n, entry].

        What follows n in the queries' shape is up to the kind of attention."""

    @abstractmethod
    def parted(self, entries: Tensor) -> Sequence[Tensor]:
        """Entries [.., entry] -> what goes to each cache, [.., *its entry]."""

    @abstractmethod
    def over_prompts(self, queries: Tensor, entries: Tensor, mask: Tensor | None) -> Tensor:
        """Attention within prompts: queries [prompts, seq, ..], entries [prompts, seq, entry], mask [seq, seq] or None
        where it is causal alone -> mixed values [prompts * seq, ..]."""

    @abstractmethod
    def over_cache(self, queries: Tensor, mask: Tensor) -> Tensor:
        """As many tokens of each row: queries [rows * width, ..] over what the caches hold of the first rows, mask
        [rows, width, seen], which is added to the scores -> mixed values [rows * width, ..]."""

    @abstractmethod
    def output(self, residual: Tensor, mixed: Tensor) -> Tensor:
        """`residual` [n, width] plus what the module makes of mixed values [n, ..] -> [n, width]."""

    @property
    def capacity(self) -> int:
        """Tokens that a row has room for."""
        return self.caches[0].capacity

    def resize(self, rows: int, capacity: int, live: int) -> None:
        """Make room for `rows` of `capacity` tokens, and keep what the first `live` rows hold."""
        for cache in self.caches:
            cache.resize(rows, capacity, live)

    def fill(self, rows: slice, entries: Tensor, which: Tensor, lengths: Tensor) -> None:
        """Give rows the entries [prompts, seq, entry] of the prompt at `which` [rows]; prompts are `lengths` [prompts]
        long."""
        for cache, part in zip(self.caches, self.parted(entries), strict=True):
            cache.fill(rows, part, which, lengths)

    def move(self, places: Tensor, sources: Tensor) -> None:
        """Copy rows `sources` [n] to `places` [n]."""
        for cache in self.caches:
            cache.move(places, sources)

    def decode(self, residual: Tensor, normed: Tensor, turns: Tensor, reading: Reading, mask: Tensor) -> Tensor:
        """The tokens of a reading: residual and normed [n, width], turns [n, 1, rotary width / 2], mask [rows, most of
        a row, seen] -> [n, width]."""
        queries, entries = self.project(normed, turns)
        # Layers with a window have a ring of places; the others never come around.
        places = reading.position % self.capacity
        for cache, part in zip(self.caches, self.parted(entries), strict=True):
            cache.write(reading.row, places, part)
        return self.output(residual, reading.parted(self.over_cache(reading.padded(queries), mask)))


class GroupedQueryAttention(CachedAttention):
    """Attention whose key heads each serve a group of query heads: Llama and what descends from it.

    Biases, norms on queries and keys (over a head or over all of them), clipping and attention sinks are as the module
    has them. Keys are kept [groups, width, tokens] and values [groups, tokens, width], which is the order that the two
    multiplications of decoding read them in: over 400 tokens (32 and 128 rows, 9 heads of 64 in 3 groups) that takes
    .3 to .5 of the time of torch's fused attention over keys and values side by side in bfloat16, and .7 in fp32. In
    bfloat16 a part of a cache would be copied before it is multiplied, so it goes over the whole.
    """

    whole = True

    def __init__(self, module: Any, window: int | None) -> None:
        self.width, self.scale = module.head_dim, module.scaling
        self.heads = module.q_proj.out_features // self.width
        self.groups = module.k_proj.out_features // self.width
        parts = ((module.q_proj, self.heads), (module.k_proj, self.groups))
        self.projection = Projection(
            [*(side_by_side(part.weight, heads) for part, heads in parts), module.v_proj.weight],
            [
                *(None if part.bias is None else side_by_side(part.bias, heads) for part, heads in parts),
                module.v_proj.bias
            ],
        )
        self.out = Projection.of(module.o_proj)
        self.norm, self.norms = self._norms(module)
        self.clip = module.config.to_dict().get("clip_qkv")
        sinks = dict(module.named_parameters(recurse=False)).get("sinks")
        self.sinks = None if sinks is None else sinks.view(1, self.groups, -1, 1)
        entry, like = (self.groups, self.width), module.q_proj.weight
        self.keys, self.values = TokenCache(entry, 2, window, like), TokenCache(entry, 1, window, like)
        super().__init__((self.keys, self.values), window)

    def _norms(self, module: Any) -> tuple[Norm | None, tuple[Norm, Norm] | None]:
        """The norm of every head, or those of all queries and of all keys."""
        children = dict(module.named_children())
        if "q_norm" not in children:
            return None, None
        eps = module.q_norm.variance_epsilon
        if module.q_norm.weight.numel() == self.width:
            heads = [side_by_side(norm.weight, 1).expand(count, -1)
                     for norm, count in ((module.q_norm, self.heads), (module.k_norm, self.groups))]
            return Norm(torch.cat(heads), eps), None
        return None, (Norm(side_by_side(module.q_norm.weight, self.heads), eps),
                      Norm(side_by_side(module.k_norm.weight, self.groups), eps))

    def project(self, hidden: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        every, queries = self.projection(hidden), self.heads * self.width  # [n, (heads + 2 groups) * width]
        # Queries and keys lie side by side, so that one multiplication turns both; values are not turned.
        turned = every[:, : queries + self.groups * self.width]
        if self.norm is not None:
            self.norm.inplace(turned.view(len(turned), -1, self.width))
        elif self.norms is not None:
            self.norms[0].inplace(turned[:, :queries])
            self.norms[1].inplace(turned[:, queries:])
        if self.clip is not None:
            # OLMoE bounds what attention sees, values included.
            every.clamp_(-self.clip, self.clip)
        rotate(turned.view(len(turned), -1, self.width), turns)
        return every[:, :queries], every[:, queries:]

    def parted(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        """[.., entry] -> keys, values, both [.., groups, width]."""
        keys, values = entries.view(*entries.shape[:-1], 2, self.groups, self.width).unbind(-3)
        return keys, values

    def over_prompts(self, queries: Tensor, entries: Tensor, mask: Tensor | None) -> Tensor:
        prompts, seq, _ = queries.shape
        # [prompts, groups, seq, width]
        keys, values = (part.transpose(1, 2) for part in self.parted(entries))
        split = queries.view(prompts, seq, self.heads, self.width).transpose(1, 2)  # [prompts, heads, seq, width]
        if self.sinks is None:
            mixed = F.scaled_dot_product_attention(
                split, keys, values, attn_mask=mask, is_causal=mask is None, scale=self.scale, enable_gqa=True
            )
        else:
            if mask is None:
                mask = split.new_full((seq, seq), -torch.inf).triu_(1)
            grouped = split.reshape(prompts, self.groups, -1, seq, self.width)
            scores = torch.matmul(grouped, keys.unsqueeze(2).transpose(-1, -2)).mul_(self.scale).add_(mask)
            weights = self._weights(scores, self.sinks.unsqueeze(-1))
            mixed = torch.matmul(weights, values.unsqueeze(2)).flatten(1, 2)
        return mixed.transpose(1, 2).reshape(prompts * seq, -1)

    @staticmethod
    def _weights(scores: Tensor, sinks: Tensor | None) -> Tensor:
        """Softmax over the tokens of scores [.., tokens]; with gpt-oss's sinks [.., 1], logits that take part in it and
        have no value, so that weights may add up to less than one."""
        if sinks is None:
            return scores.softmax(dim=-1)
        return torch.cat([scores, sinks.expand(*scores.shape[:-1], 1)], dim=-1).softmax(dim=-1)[..., :-1]

    def over_cache(self, queries: Tensor, mask: Tensor) -> Tensor:
        rows, width, _ = mask.shape
        # [rows, groups, tokens * heads of a group, width]: a key is read once for all heads of its group.
        split = queries.view(rows, width, self.groups, -1, self.width).transpose(1, 2)
        scores = torch.matmul(split.reshape(rows, self.groups, -1, self.width), self.keys.first(rows))
        # [rows, groups, tokens, heads of a group, seen]
        scores = scores.mul_(self.scale).view(*split.shape[:4], -1).add_(mask[:, None, :, None])
        weights = self._weights(scores, None if self.sinks is None else self.sinks.unsqueeze(2)).flatten(2, 3)
        mixed = torch.matmul(weights, self.values.first(rows)).view(split.shape)
        return mixed.transpose(1, 2).reshape(rows * width, -1)

    def output(self, residual: Tensor, mixed: Tensor) -> Tensor:
        return self.out.onto(residual, mixed)
