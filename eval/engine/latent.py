"""DeepSeek's multi-head latent attention for decoding, with the up-projection absorbed."""

from typing import Any  # modules of transformers, whose parts differ by family

import torch
from torch import Tensor
from torch.nn import functional as F

from eval.engine.attention import CachedAttention
from eval.engine.token_cache import TokenCache
from eval.engine.weights import Norm, Projection, rotate, side_by_side


class LatentAttention(CachedAttention):
    """Multi-head latent attention on its compressed cache (DeepSeek-V2, arXiv 2405.04434, section 2.1.2).

    The cache holds the latent and the shared rotary key, kv_lora_rank + qk_rope_head_dim numbers a token. Folding
    kv_b_proj into queries and output spares expanding the cache at every step, as transformers does.
    """

    whole = False

    def __init__(self, module: Any, window: int | None) -> None:
        self.heads, self.rank, self.rope = module.num_heads, module.kv_lora_rank, module.qk_rope_head_dim
        self.nope, self.scale = module.qk_nope_head_dim, module.scaling
        self.entry = self.rank + self.rope
        # DeepSeek-V2 always turns neighbours in pairs; V3 has a field for it.
        self.paired = module.config.to_dict().get("rope_interleave", True)
        latent = module.kv_a_proj_with_mqa
        below = self._of(latent, 1, self.rank)
        direct = module.q_lora_rank is None
        above = module.q_proj if direct else module.q_b_proj
        queries = self._of(above, self.heads, self.nope)
        if direct:
            self.down, self.query_norm, self.up = Projection([queries[0], below[0]], [queries[1], below[1]]), None, None
        else:
            self.down = Projection([module.q_a_proj.weight, below[0]], [module.q_a_proj.bias, below[1]])
            self.query_norm, self.up = Norm.of(module.q_a_layernorm), Projection([queries[0]], [queries[1]])
        self.latent_norm = Norm.of(module.kv_a_layernorm)
        expand = module.kv_b_proj.weight.view(self.heads, -1, self.rank)
        # [heads, nope, rank] and [heads, value, rank]: what makes keys and values of a latent.
        self.key_up, self.value_up = expand[:, : self.nope], expand[:, self.nope :]
        self.out = Projection.of(module.o_proj)
        self.cache = TokenCache((self.entry,), 0, window, latent.weight)
        super().__init__((self.cache,), window)

    def _of(self, layer: Any, heads: int, before: int) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a projection, as `_ordered` lays them out."""
        weight, bias = layer.weight, layer.bias
        return self._ordered(weight, heads, before), None if bias is None else self._ordered(bias, heads, before)

    def _ordered(self, part: Tensor, heads: int, before: int) -> Tensor:
        """Rows of a projection [heads * (before + rope), ..] with the rotary ones side by side."""
        if self.paired:
            return part
        # [heads, before + rope, ..], of which the last `rope` are rotary
        every = part.view(heads, before + self.rope, *part.shape[1:])
        rotary = side_by_side(every[:, before:].flatten(0, 1), heads).view_as(every[:, before:])
        return torch.cat([every[:, :before], rotary], dim=1).flatten(0, 1)

    def project(self, hidden: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Queries [n, heads, nope + rope] and entries [n, rank + rope]."""
        every = self.down(hidden)
        # One multiplication gives both: the queries (or what they are projected up from) and the cache's entry.
        queries, entries = every[:, : -self.entry], every[:, -self.entry :]
        self.latent_norm.inplace(entries[:, : self.rank])
        rotate(entries[:, self.rank :].unsqueeze(1), turns)
        if self.up is not None and self.query_norm is not None:
            queries = self.up(self.query_norm(queries))
        queries = queries.view(len(queries), self.heads, -1)
        rotate(queries[..., self.nope :], turns)
        return queries, entries

    def parted(self, entries: Tensor) -> tuple[Tensor]:
        return (entries,)

    def over_prompts(self, queries: Tensor, entries: Tensor, mask: Tensor | None) -> Tensor:
        """Over the expanded cache, which is cheaper where every token is a query. Queries [prompts, seq, heads, nope +
        rope] -> [prompts * seq, heads * value]."""
        latent, rope = entries[..., : self.rank], entries[..., self.rank :]
        # [prompts, heads, seq, nope]; the rotary part is one for all heads
        keys = torch.einsum("bsr,hdr->bhsd", latent, self.key_up)
        keys = torch.cat([keys, rope.unsqueeze(1).expand(-1, self.heads, -1, -1)], dim=-1)
        values = torch.einsum("bsr,hdr->bhsd", latent, self.value_up)
        mixed = F.scaled_dot_product_attention(
            queries.transpose(1, 2), keys, values, attn_mask=mask, is_causal=mask is None, scale=self.scale
        )
        return mixed.transpose(1, 2).flatten(0, 1).flatten(1)

    def over_cache(self, queries: Tensor, mask: Tensor) -> Tensor:
        """Queries [rows * width, heads, nope + rope] -> [rows * width, heads * value]."""
        rows, width, seen = mask.shape
        nope, rope = queries[..., : self.nope], queries[..., self.nope :]
        # q (W c) = (q W) c: instead of every cached latent going into the head's space, the query goes into the latent
        # one, once.
        absorbed = torch.bmm(nope.transpose(0, 1), self.key_up).transpose(0, 1)  # [rows * width, heads, rank]
        entries = self.cache.first(rows)[:, :seen].unsqueeze(1)  # [rows, 1, seen, rank + rope]
        # Tokens and heads of a row are alike: all of them are queries of one sequence.
        every = torch.cat([absorbed, rope], dim=-1).view(rows, 1, width * self.heads, -1)
        if width > 1:
            mask = mask.repeat_interleave(self.heads, dim=1)
        # The values are the entries without their rotary part. It is mixed, too, and thrown away, which is cheaper than
        # a copy of the cache without it.
        mixed = F.scaled_dot_product_attention(
            every, entries, entries, attn_mask=mask.unsqueeze(1), scale=self.scale
        ).view(rows * width, self.heads, -1)[..., : self.rank]
        return torch.bmm(mixed.transpose(0, 1), self.value_up.transpose(1, 2)).transpose(0, 1).flatten(1)

    def output(self, residual: Tensor, mixed: Tensor) -> Tensor:
        return self.out.onto(residual, mixed)
