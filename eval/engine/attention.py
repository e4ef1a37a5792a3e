"""Cached attention for decoding, over the weights of transformers' own attention modules."""

from abc import ABC, abstractmethod
from typing import Any  # modules of transformers, whose parts differ by family

import torch
from torch import Tensor
from torch.nn import functional as F

from eval.engine.weights import Norm, Projection, rotate, side_by_side


class CachedAttention(ABC):
    """One layer's attention and its cache [rows, capacity, entry]: one entry a token, whatever the kind of attention.

    With a `window` a row keeps its last `window` entries alone, that of position p at p modulo window: where an entry
    lies does not matter, since keys are turned by their position before they are kept.
    """

    entry: int
    """Numbers kept of a token."""

    def __init__(self, weight: Tensor, window: int | None) -> None:
        self.window = window
        self.cache = weight.new_empty(0, 0, self.entry)

    @abstractmethod
    def project(self, hidden: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [n, width], complex turns [n, 1, rotary width / 2] -> queries [n, ..], entries [n, entry].

        What follows n in the queries' shape is up to the kind of attention."""

    @abstractmethod
    def over_prompts(self, queries: Tensor, entries: Tensor, mask: Tensor | None) -> Tensor:
        """Attention within prompts: queries [prompts, seq, ..], entries [prompts, seq, entry], mask [seq, seq] or None
        where it is causal alone -> mixed values [prompts * seq, ..]."""

    @abstractmethod
    def over_cache(self, queries: Tensor, kept: Tensor, mask: Tensor) -> Tensor:
        """One token a row: queries [rows, ..], kept [rows, seen, entry], mask [rows, 1, 1, seen], which is added to the
        scores -> mixed values [rows, ..]."""

    @abstractmethod
    def output(self, residual: Tensor, mixed: Tensor) -> Tensor:
        """`residual` [n, width] plus what the module makes of mixed values [n, ..] -> [n, width]."""

    def resize(self, rows: int, capacity: int, live: int) -> None:
        """Make room for `rows` of `capacity` tokens, and keep what the first `live` rows hold."""
        if self.window is not None:
            capacity = min(capacity, self.window)
        old, shared = self.cache, min(capacity, self.cache.shape[1])
        # What was never written is masked, but must be finite: 0 times NaN is NaN.
        self.cache = old.new_zeros(rows, capacity, self.entry)
        self.cache[:live, :shared] = old[:live, :shared]

    def fill(self, rows: slice, entries: Tensor, which: Tensor, lengths: Tensor) -> None:
        """Give rows the entries [prompts, seq, entry] of the prompt at `which` [rows]; prompts are `lengths` [prompts]
        long."""
        capacity, seq = self.cache.shape[1], entries.shape[1]
        if seq > capacity:  # there is a window, and each place keeps the newest position that belongs there
            places = torch.arange(capacity, device=entries.device)
            last = lengths.unsqueeze(1) - 1
            # Of the positions that fall on one place the newest is kept; where a short prompt has none yet, position
            # 0 stands there and is masked.
            positions = (last - (last - places) % capacity).clamp_(min=0)
            entries = entries.gather(1, positions.unsqueeze(-1).expand(-1, -1, self.entry))
            seq = capacity
        self.cache[rows, :seq] = entries[which]

    def move(self, places: Tensor, sources: Tensor) -> None:
        """Copy rows `sources` [n] to `places` [n]."""
        self.cache[places] = self.cache[sources]

    def decode(self, residual: Tensor, normed: Tensor, turns: Tensor, slots: Tensor, mask: Tensor) -> Tensor:
        """One token a row: residual and normed [rows, width], turns [rows, 1, rotary width / 2], mask [rows, 1, 1,
        seen] -> [rows, width]. Its entry goes to `slots` [rows] of the cache seen as [rows * capacity, entry]."""
        queries, entries = self.project(normed, turns)
        self.cache.view(-1, self.entry).index_copy_(0, slots, entries)
        # No further than the longest row has come: what lies behind would be masked in every row.
        kept = self.cache[: len(normed), : mask.shape[-1]]
        return self.output(residual, self.over_cache(queries, kept, mask))


class GroupedQueryAttention(CachedAttention):
    """Attention whose key heads each serve a group of query heads: Llama and what descends from it.

    Biases, norms on queries and keys (over a head or over all of them), clipping and attention sinks are as the module
    has them. The cache holds keys and values side by side.
    """

    def __init__(self, module: Any, window: int | None) -> None:
        self.width, self.scale = module.head_dim, module.scaling
        self.heads = module.q_proj.out_features // self.width
        self.groups = module.k_proj.out_features // self.width
        self.entry = 2 * self.groups * self.width
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
        super().__init__(module.q_proj.weight, window)

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

    def _split(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        """[.., tokens, entry] -> keys, values, both [.., groups, tokens, width]."""
        # Keys and values lie side by side in an entry: [.., tokens, groups, width] each.
        keys, values = entries.view(*entries.shape[:-1], 2, self.groups, self.width).unbind(-3)
        return keys.transpose(-2, -3), values.transpose(-2, -3)

    def over_prompts(self, queries: Tensor, entries: Tensor, mask: Tensor | None) -> Tensor:
        prompts, seq, _ = queries.shape
        keys, values = self._split(entries)
        split = queries.view(prompts, seq, self.heads, self.width).transpose(1, 2)  # [prompts, heads, seq, width]
        if self.sinks is None:
            mixed = F.scaled_dot_product_attention(
                split, keys, values, attn_mask=mask, is_causal=mask is None, scale=self.scale, enable_gqa=True
            )
        else:
            if mask is None:
                mask = split.new_full((seq, seq), -torch.inf).triu_(1)
            mixed = self._with_sinks(
                split.reshape(prompts, self.groups, -1, seq, self.width), keys, values, mask, self.sinks.unsqueeze(-1)
            )
            mixed = mixed.flatten(1, 2)
        return mixed.transpose(1, 2).reshape(prompts * seq, -1)

    def _with_sinks(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, sinks: Tensor) -> Tensor:
        """gpt-oss: one logit of each head takes part in the softmax and has no value.

        Queries [.., groups, heads of a group, width] of one token, or [.., groups, heads of a group, seq, width]; keys
        and values [.., groups, tokens, width]; sinks [1, groups, heads of a group, 1 (, 1)]."""
        if queries.dim() == 5:
            keys, values = keys.unsqueeze(2), values.unsqueeze(2)
        # [.., groups, heads of a group, (seq,) tokens]
        scores = torch.matmul(queries, keys.transpose(-1, -2)).mul_(self.scale).add_(mask)
        # The sink takes part in the normalization and is then left out, so that weights may add up to less than one.
        weights = torch.cat([scores, sinks.expand(*scores.shape[:-1], 1)], dim=-1).softmax(dim=-1)
        return torch.matmul(weights[..., :-1], values)

    def over_cache(self, queries: Tensor, kept: Tensor, mask: Tensor) -> Tensor:
        keys, values = self._split(kept)
        split = queries.view(len(queries), self.groups, -1, self.width)  # [rows, groups, heads of a group, width]
        if self.sinks is not None:
            return self._with_sinks(split, keys, values, mask, self.sinks).flatten(1)
        # The query heads of a group stand where tokens usually do, so that a key is read once for all of them.
        return F.scaled_dot_product_attention(
            split, keys, values, attn_mask=mask, scale=self.scale
        ).reshape(len(queries), -1)

    def output(self, residual: Tensor, mixed: Tensor) -> Tensor:
        return self.out.onto(residual, mixed)
