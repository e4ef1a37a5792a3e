"""Cached attention for decoding, over the weights of transformers' own attention modules.

Each class holds one layer's cache as a buffer [rows, capacity, width] and computes what the module would.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class CachedAttention(Protocol):
    """One layer's attention with its cache."""

    def prefill(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Causal attention over whole prompts: hidden [prompts, seq, width] -> (output, cache rows [prompts, seq, ..])."""
        ...

    def decode(self, hidden: Tensor, cos: Tensor, sin: Tensor, cache: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """One token a row: hidden [rows, width], cache [rows, capacity, ..]; the new entry is written at `lengths`."""
        ...


class LatentAttention:
    """DeepSeek's multi-head latent attention with the up-projection absorbed (DeepSeek-V2, section 2.1.2).

    The cache holds the compressed latent and the shared rotary key, [kv_lora_rank + qk_rope_head_dim] a token.
    Folding kv_b_proj into query and output spares expanding the whole cache at every step.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.rank, self.rope = module.kv_lora_rank, module.qk_rope_head_dim
        up = module.kv_b_proj.weight.view(module.num_heads, -1, self.rank)
        self.key_up, self.value_up = up.split([module.qk_nope_head_dim, module.v_head_dim], dim=1)
        self.interleaved = module.config.rope_interleave

    @property
    def width(self) -> int:
        return int(self.rank + self.rope)

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

    def prefill(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
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
        output = module.o_proj(mixed.transpose(1, 2).flatten(2))
        return output, torch.cat([latent, key_rope.squeeze(1)], dim=-1)

    def decode(self, hidden: Tensor, cos: Tensor, sin: Tensor, cache: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        nope, rope = self._queries(hidden)
        latent, key_rope = self._latents(hidden)
        rope = rotate(rope, cos.unsqueeze(1), sin.unsqueeze(1), self.interleaved)
        key_rope = rotate(key_rope, cos, sin, self.interleaved)
        cache[torch.arange(len(hidden)), lengths] = torch.cat([latent, key_rope], dim=-1)
        seen = cache[:, : mask.shape[1]]
        queries = torch.cat([torch.einsum("bhd,hdr->bhr", nope, self.key_up), rope], dim=-1)
        scores = torch.bmm(queries, seen.transpose(1, 2)).mul_(self.module.scaling)
        weights = scores.masked_fill_(~mask.unsqueeze(1), float("-inf")).softmax(dim=-1)
        mixed = torch.bmm(weights, seen[..., : self.rank])
        output: Tensor = self.module.o_proj(torch.einsum("bhr,hdr->bhd", mixed, self.value_up).flatten(1))
        return output


class GroupedQueryAttention:
    """Grouped-query attention with query and key norms (Qwen3, Qwen3-MoE). The cache holds keys, then values."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.head = module.head_dim
        self.heads = module.k_proj.out_features // self.head

    @property
    def width(self) -> int:
        return int(2 * self.heads * self.head)

    def _project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        module, shape = self.module, (*hidden.shape[:-1], -1, self.head)
        queries = module.q_norm(module.q_proj(hidden).view(shape))
        keys = module.k_norm(module.k_proj(hidden).view(shape))
        return queries, keys, module.v_proj(hidden).view(shape)

    def prefill(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        queries, keys, values = self._project(hidden)
        queries = rotate(queries.transpose(1, 2), cos, sin, interleaved=False)
        keys = rotate(keys.transpose(1, 2), cos, sin, interleaved=False)
        mixed = F.scaled_dot_product_attention(
            queries, keys, values.transpose(1, 2), is_causal=True, scale=self.module.scaling, enable_gqa=True
        )
        cache = torch.cat([keys.transpose(1, 2).flatten(2), values.flatten(2)], dim=-1)
        return self.module.o_proj(mixed.transpose(1, 2).flatten(2)), cache

    def decode(self, hidden: Tensor, cos: Tensor, sin: Tensor, cache: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        queries, keys, values = self._project(hidden)
        queries = rotate(queries, cos.unsqueeze(1), sin.unsqueeze(1), interleaved=False)
        keys = rotate(keys, cos.unsqueeze(1), sin.unsqueeze(1), interleaved=False)
        cache[torch.arange(len(hidden)), lengths] = torch.cat([keys.flatten(1), values.flatten(1)], dim=-1)
        seen = cache[:, : mask.shape[1]].view(len(hidden), mask.shape[1], 2, self.heads, self.head)
        queries = queries.view(len(hidden), self.heads, -1, self.head)
        scores = torch.einsum("bkgd,bskd->bkgs", queries, seen[:, :, 0]).mul_(self.module.scaling)
        weights = scores.masked_fill_(~mask[:, None, None], float("-inf")).softmax(dim=-1)
        mixed = torch.einsum("bkgs,bskd->bkgd", weights, seen[:, :, 1])
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
