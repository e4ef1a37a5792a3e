"""Continuous decoding over the modules of a transformers model.

Finished rows leave the batch and waiting ones enter; a prompt is read once for its whole group. The forward
is the model's own (its norms, projections, experts and head); only attention is computed here, on caches that
fit it (`attention.py`). Models of other families go through `plain.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.engine.attention import CachedAttention, GroupedQueryAttention, LatentAttention
from eval.engine.experts import ExpertRecorder
from eval.engine.sampling import draw, uniforms
from eval.engine.types import Request, Sampled, Sampling

ATTENTION: dict[str, type[CachedAttention]] = {
    "deepseek_v3": LatentAttention,
    "qwen3": GroupedQueryAttention,
    "qwen3_moe": GroupedQueryAttention,
}

ROWS = 256  # rows decoded at once: past this a step costs as much a token on two CPU cores
COMPACT_SHARE = 0.12  # finished rows are carried until they are this share: moving caches has a price too


def fits(config: Any) -> bool:
    """Whether this engine computes what a model of this config does: full attention in a known family, at rotary
    frequencies that stay the same as a text grows."""
    fields = config.to_dict()
    rope = (fields.get("rope_parameters") or {}).get("rope_type", "default")
    return config.model_type in ATTENTION and not fields.get("sliding_window") and rope not in ("dynamic", "longrope")


@dataclass
class _Row:
    """One rollout in the making."""

    request: int
    index: int
    uniforms: np.ndarray
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    experts: list[Tensor] = field(default_factory=list)

    def sampled(self, eos: int) -> Sampled:
        experts = torch.cat(self.experts).cpu() if self.experts else None
        return Sampled(self.ids, self.logprobs, self.ids[-1] == eos, experts)


class NativeEngine:
    """Samples from a transformers causal language model of a family in `ATTENTION`.

    `eos` is the end-of-text id. The weights are read afresh at each call, so the model may be in training.
    """

    def __init__(self, model: Any, eos: int, rows: int = ROWS, experts: Sequence[Any] = ()) -> None:
        self.model, self.eos, self.rows = model, eos, rows
        self.recorder = ExpertRecorder(experts)

    def sample(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[list[Sampled]]:
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), self.recorder:
                return _Batch(self.model, self.eos, self.rows, requests, sampling, self.recorder).run(progress)
        finally:
            self.model.train(training)


class _Batch:
    """The state of one call: caches, the rows being decoded and those that wait."""

    def __init__(
        self, model: Any, eos: int, rows: int, requests: Sequence[Request], sampling: Sampling, recorder: ExpertRecorder
    ) -> None:
        self.recorder = recorder
        self.body, self.head, self.eos, self.sampling = model.model, model.lm_head, eos, sampling
        self.requests = requests
        attention = ATTENTION[model.config.model_type]
        self.waiting = [(r, i) for r, request in enumerate(requests) for i in range(len(request.seeds))][::-1]
        self.capacity = max((len(request.prompt) for request in requests), default=0) + sampling.max_tokens
        self.limit = min(rows, len(self.waiting))
        weight = self.head.weight
        self.layers: list[tuple[Any, CachedAttention]] = [
            (layer, attention(layer.self_attn, self.limit, self.capacity)) for layer in self.body.layers
        ]
        self.lengths = torch.zeros(self.limit, dtype=torch.long, device=weight.device)
        positions = torch.arange(self.capacity, device=weight.device).unsqueeze(0)
        cos, sin = self.body.rotary_emb(weight[:1], positions)
        self.cos, self.sin = cos[0], sin[0]
        self.live: list[_Row] = []
        self.done: dict[tuple[int, int], Sampled] = {}
        self.logits = weight.new_zeros(0, weight.shape[0])

    def run(self, progress: Callable[[int, int], None] | None) -> list[list[Sampled]]:
        total = len(self.waiting)
        while self.waiting or self.live:
            free = self.limit - len(self.live)
            if self.waiting and (not self.live or free >= min(len(self.waiting), max(1, self.limit // 4))):
                self._admit(free)
            self._step()
            if progress:
                progress(len(self.done), total)
        return [[self.done[r, i] for i in range(len(q.seeds))] for r, q in enumerate(self.requests)]

    def _admit(self, free: int) -> None:
        """Read the prompts of the next rows, each prompt once, and copy its cache to every row of its group."""
        rows = [self.waiting.pop() for _ in range(min(free, len(self.waiting)))]
        prompts = list(dict.fromkeys(r for r, _ in rows))
        longest = max(len(self.requests[r].prompt) for r in prompts)
        ids = torch.zeros(len(prompts), longest, dtype=torch.long, device=self.lengths.device)
        lengths = torch.tensor([len(self.requests[r].prompt) for r in prompts], device=ids.device)
        for place, r in enumerate(prompts):
            ids[place, : lengths[place]] = torch.as_tensor(self.requests[r].prompt)
        which = torch.tensor([prompts.index(r) for r, _ in rows], device=ids.device)
        span = slice(len(self.live), len(self.live) + len(rows))

        hidden = self.body.embed_tokens(ids)
        for layer, attention in self.layers:
            normed = layer.input_layernorm(hidden)
            mixed, keys, values = attention.prefill(normed, self.cos[:longest], self.sin[:longest])
            attention.fill(span, keys[which], values[which])
            hidden = hidden + mixed
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        last = hidden[torch.arange(len(prompts)), lengths - 1]
        logits = self.head(self.body.norm(last))[which]

        self.lengths[span] = lengths[which]
        self.logits = torch.cat([self.logits, logits])
        experts = self.recorder.take(*ids.shape) if self.recorder.modules else None
        for (r, i), place in zip(rows, which.tolist(), strict=True):
            row = _Row(r, i, uniforms(self.requests[r].seeds[i], self.sampling.max_tokens))
            if experts is not None:
                row.experts.append(experts[place, : lengths[place]])
            self.live.append(row)

    def _step(self) -> None:
        """Draw a token a row from the current logits, retire finished rows and run the others forward."""
        numbers = torch.tensor([row.uniforms[min(len(row.ids), self.sampling.max_tokens - 1)] for row in self.live])
        tokens, logprobs = draw(self.logits, self.sampling.temperature, numbers.to(self.logits.device), self.sampling.top_p)
        drawn, values = tokens.tolist(), logprobs.tolist()
        staying = []
        for place, row in enumerate(self.live):
            if self._finished(row):
                continue
            row.ids.append(drawn[place])
            row.logprobs.append(values[place])
            if self._finished(row):
                self.done[row.request, row.index] = row.sampled(self.eos)
            else:
                staying.append(place)
        if len(staying) <= (1 - COMPACT_SHARE) * len(self.live):
            tokens = self._compact(staying, tokens)
        self._forward(tokens)

    def _finished(self, row: _Row) -> bool:
        return bool(row.ids) and (row.ids[-1] == self.eos or len(row.ids) >= self.sampling.max_tokens)

    def _compact(self, staying: list[int], tokens: Tensor) -> Tensor:
        """Drop all rows but these from the batch."""
        keep = torch.tensor(staying, dtype=torch.long, device=tokens.device)
        if staying:
            reach = int(self.lengths[: len(self.live)].max())
            for _, attention in self.layers:
                attention.keep(keep, reach)
        self.lengths[: len(staying)] = self.lengths[keep]
        self.live = [self.live[place] for place in staying]
        return tokens[keep]

    def _forward(self, tokens: Tensor) -> None:
        """One token a row through the model, [rows] -> self.logits [rows, vocabulary]."""
        if not self.live:
            self.logits = self.logits[:0]
            return
        rows = len(self.live)
        lengths = self.lengths[:rows].clamp(max=self.capacity - 1)
        cos, sin = self.cos[lengths], self.sin[lengths]
        mask = torch.arange(int(lengths.max()) + 1, device=tokens.device) <= lengths.unsqueeze(1)
        hidden = self.body.embed_tokens(tokens)
        for layer, attention in self.layers:
            normed = layer.input_layernorm(hidden)
            hidden = hidden + attention.decode(normed, cos, sin, lengths, mask)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden).unsqueeze(1)).squeeze(1)
        self.logits = self.head(self.body.norm(hidden))
        self.lengths[:rows] = lengths + 1
        if self.recorder.modules:
            for row, taken in zip(self.live, self.recorder.take(rows, 1), strict=True):
                row.experts.append(taken)
