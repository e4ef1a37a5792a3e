"""Cached attention for decoding, over the weights of transformers' own attention modules.

Each class holds one layer's cache and computes what the module would. Keys are stored with their length last,
[rows, heads, width, capacity]: the product with one query a row then runs along memory, about three times as fast on CPUs.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class CachedAttention(ABC):
    """One layer's attention with its cache of `rows` rows and `capacity` tokens.

    Subclasses give the projections; `heads` is the number of key heads, of which each serves a group of query heads.
    """

    def __init__(self, module: Any, rows: int, capacity: int) -> None:
        self.module = module
        heads, key, value = self.sizes()
        weight = module.o_proj.weight
        self.keys = weight.new_zeros(rows, heads, key, capacity)
        self.values = weight.new_zeros(rows, heads, capacity, value)

    @abstractmethod
    def sizes(self) -> tuple[int, int, int]:
        """Key heads, width of a key, width of a value, as they are cached."""

    @abstractmethod
    def prefill(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Causal attention over whole prompts: hidden [prompts, seq, width] -> (output, keys, values as cached)."""

    @abstractmethod
    def project(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One token a row: hidden [rows, width] -> queries [rows, heads, group, key], keys, values [rows, heads, ..]."""

    @abstractmethod
    def output(self, mixed: Tensor) -> Tensor:
        """Mixed values [rows, heads, group, value] -> the module's output [rows, width]."""

    def fill(self, rows: slice, keys: Tensor, values: Tensor) -> None:
        """Put what `prefill` gave into the cache of these rows."""
        self.keys[rows, :, :, : keys.shape[-1]] = keys
        self.values[rows, :, : values.shape[2]] = values

    def keep(self, rows: Tensor, reach: int) -> None:
        """Move these rows to the front, as far as `reach` tokens."""
        self.keys[: len(rows), :, :, :reach] = self.keys[rows, :, :, :reach]
        self.values[: len(rows), :, :reach] = self.values[rows, :, :reach]

    def decode(self, hidden: Tensor, cos: Tensor, sin: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """One token a row, hidden [rows, width]; its cache entry is written at `lengths` [rows], mask is [rows, seen]."""
        queries, keys, values = self.project(hidden, cos, sin)
        rows, seen = mask.shape
        every = torch.arange(rows, device=hidden.device)
        self.keys[every, :, :, lengths] = keys
        self.values[every, :, lengths] = values
        scores = torch.matmul(queries, self.keys[:rows, :, :, :seen]).mul_(self.module.scaling)
        weights = scores.masked_fill_(~mask[:, None, None], float("-inf")).softmax(dim=-1)
        return self.output(torch.matmul(weights, self.values[:rows, :, :seen]))


class LatentAttention(CachedAttention):
    """DeepSeek's multi-head latent attention with the up-projection absorbed (DeepSeek-V2, section 2.1.2).

    The cache holds the compressed latent and the shared rotary key, kv_lora_rank + qk_rope_head_dim a token (the latent
    twice, as key and as value). Folding kv_b_proj into query and output spares expanding the cache at every step.
    """

    def __init__(self, module: Any, rows: int, capacity: int) -> None:
        self.rank, self.rope = module.kv_lora_rank, module.qk_rope_head_dim
        up = module.kv_b_proj.weight.view(module.num_heads, -1, self.rank)
        self.key_up, self.value_up = up.split([module.qk_nope_head_dim, module.v_head_dim], dim=1)
        self.interleaved = module.config.rope_interleave
        super().__init__(module, rows, capacity)

    def sizes(self) -> tuple[int, int, int]:
        return 1, self.rank + self.rope, self.rank

    def _queries(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        module = self.module
        if module.q_lora_rank is None:
            queries = module.q_proj(hidden)
        else:
            queries = module.q_b_proj(module.q_a_layernorm(module.q_a_proj(hidden)))
        queries = queries.view(*hidden.shape[:-1], module.num_heads, -1)
        nope, rope = queries.split([module.qk_nope_head_dim, self.rope], dim=-1)
        return nope, rope

    def _latents(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        latent, rope = self.module.kv_a_proj_with_mqa(hidden).split([self.rank, self.rope], dim=-1)
        return self.module.kv_a_layernorm(latent), rope

    def prefill(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        module = self.module
        nope, rope = self._queries(hidden)
        latent, key_rope = self._latents(hidden)
        rope = rotate(rope.transpose(1, 2), cos, sin, self.interleaved)
        key_rope = rotate(key_rope.unsqueeze(1), cos, sin, self.interleaved)
        keys = torch.einsum("bsr,hdr->bhsd", latent, self.key_up)
        keys = torch.cat([keys, key_rope.expand(-1, module.num_heads, -1, -1)], dim=-1)
        values = torch.einsum("bsr,hdr->bhsd", latent, self.value_up)
        queries = torch.cat([nope.transpose(1, 2), rope], dim=-1)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=module.scaling)
        cached = torch.cat([latent, key_rope.squeeze(1)], dim=-1).transpose(1, 2).unsqueeze(1)
        return module.o_proj(mixed.transpose(1, 2).flatten(2)), cached, latent.unsqueeze(1)

    def project(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        nope, rope = self._queries(hidden)
        latent, key_rope = self._latents(hidden)
        rope = rotate(rope, cos.unsqueeze(1), sin.unsqueeze(1), self.interleaved)
        key_rope = rotate(key_rope, cos, sin, self.interleaved)
        queries = torch.cat([torch.einsum("bhd,hdr->bhr", nope, self.key_up), rope], dim=-1)
        return queries.unsqueeze(1), torch.cat([latent, key_rope], dim=-1).unsqueeze(1), latent.unsqueeze(1)

    def output(self, mixed: Tensor) -> Tensor:
        output: Tensor = self.module.o_proj(torch.einsum("bhr,hdr->bhd", mixed.squeeze(1), self.value_up).flatten(1))
        return output


class GroupedQueryAttention(CachedAttention):
    """Grouped-query attention with norms on queries and keys (Qwen3, Qwen3-MoE)."""

    def sizes(self) -> tuple[int, int, int]:
        width = self.module.head_dim
        return self.module.k_proj.out_features // width, width, width

    def _project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        module, shape = self.module, (*hidden.shape[:-1], -1, self.module.head_dim)
        queries = module.q_norm(module.q_proj(hidden).view(shape))
        keys = module.k_norm(module.k_proj(hidden).view(shape))
        return queries, keys, module.v_proj(hidden).view(shape)

    def prefill(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = (part.transpose(1, 2) for part in self._project(hidden))
        queries = rotate(queries, cos, sin, interleaved=False)
        keys = rotate(keys, cos, sin, interleaved=False)
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, scale=self.module.scaling, enable_gqa=True
        )
        return self.module.o_proj(mixed.transpose(1, 2).flatten(2)), keys.transpose(2, 3), values

    def project(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = self._project(hidden)
        queries = rotate(queries, cos.unsqueeze(1), sin.unsqueeze(1), interleaved=False)
        keys = rotate(keys, cos.unsqueeze(1), sin.unsqueeze(1), interleaved=False)
        return queries.view(len(hidden), keys.shape[1], -1, keys.shape[2]), keys, values

    def output(self, mixed: Tensor) -> Tensor:
        output: Tensor = self.module.o_proj(mixed.flatten(1))
        return output


def rotate(vectors: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    """Rotary embedding of vectors [.., seq, width] by cos and sin [seq, width], as transformers lays them out."""
    half = vectors.shape[-1] // 2
    if interleaved:
        first, second = vectors[..., 0::2], vectors[..., 1::2]
    else:
        first, second = vectors[..., :half], vectors[..., half:]
    cos, sin = cos[..., :half], sin[..., :half]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
