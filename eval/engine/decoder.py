"""A transformers model laid out for decoding: its weights, a cache of many rows, one token a row at a time."""

from typing import Any  # modules of transformers, whose parts differ by family

import torch
from torch import Tensor

from eval.engine.attention import CachedAttention, Slots
from eval.engine.experts import ExpertRecorder
from eval.engine.families import FAMILIES, windows
from eval.engine.feedforward import Experts, FeedForward, Gated
from eval.engine.weights import Norm, Projection
from eval.language_model import LanguageModel


class Decoder:
    """The forward of a model of `FAMILIES`, for prompts and for one token a row.

    On CPUs projections are copies made when this is built, so it serves one call of the engine, in which they take once
    to twice the memory of the model's layers again; on GPUs those of queries and keys alone are. Rows live at places 0,
    1, ..; each has a cache of `capacity` tokens.
    """

    def __init__(self, model: LanguageModel, recorder: ExpertRecorder | None = None) -> None:
        # Every family of FAMILIES has these two parts. What lies inside them differs, and so they have no type.
        body: Any = model.get_submodule("model")
        head: Any = model.get_submodule("lm_head")
        family = FAMILIES[model.config.model_type]
        self.embedding, self.rotary = body.embed_tokens, body.rotary_emb
        self.layers: list[tuple[Norm, CachedAttention, Norm, FeedForward]] = [
            (Norm.of(layer.input_layernorm), family.attention(layer.self_attn, window),
             Norm.of(layer.post_attention_layernorm), _feed_forward(layer.mlp, family.router, recorder))
            for layer, window in zip(body.layers, windows(model.config), strict=True)
        ]
        self.norm, self.head = Norm.of(body.norm), Projection.of(head)
        self.device = head.weight.device
        self.rows = self.capacity = 0
        self.turns = torch.empty(0, 1, 0)

    def resize(self, rows: int, capacity: int, live: int) -> None:
        """Room for `rows` of `capacity` tokens; the first `live` rows keep what they hold."""
        for _, attention, _, _ in self.layers:
            attention.resize(rows, capacity, live)
        if capacity > len(self.turns):
            self.turns = self._turns(capacity)
        self.rows, self.capacity = rows, capacity

    def _turns(self, capacity: int) -> Tensor:
        """Rotary embedding of every position as complex numbers [capacity, 1, width / 2]."""
        positions = torch.arange(capacity, device=self.device).unsqueeze(0)
        found = self.rotary(torch.empty(1, device=self.device), positions)
        if isinstance(found, Tensor):  # DeepSeek-V2 gives complex numbers itself
            return found[0].unsqueeze(1)
        cos, sin = found
        # transformers writes each angle twice, for both halves of a head; a complex number needs it once.
        pairs = len(self.rotary.inv_freq)
        return torch.complex(cos[0, :, :pairs], sin[0, :, :pairs]).unsqueeze(1)

    def read(self, ids: Tensor, lengths: Tensor, which: Tensor, first: int) -> Tensor:
        """Read prompts ids [prompts, seq] of `lengths` [prompts], padded on the right, and give the rows from `first`
        on the cache of the prompt at `which` [rows]. Returns the logits after each prompt, [prompts, vocabulary]."""
        prompts, seq = ids.shape
        places = slice(first, first + len(which))
        # Prompts are padded on the right, so that position and place are the same in every row.
        turns = self.turns[:seq].repeat(prompts, 1, 1)
        hidden = self.embedding(ids).flatten(0, 1)  # [prompts * seq, width]
        for before, attention, after, feed in self.layers:
            queries, entries = attention.project(before(hidden), turns)
            entries = entries.view(prompts, seq, -1)
            mask = None
            if attention.window is not None and seq > attention.window:
                mask = _band(seq, attention.window, hidden)
            mixed = attention.over_prompts(queries.view(prompts, seq, *queries.shape[1:]), entries, mask)
            attention.fill(places, entries, which, lengths)
            hidden = attention.output(hidden, mixed)
            hidden = feed(hidden, after(hidden))
        last = torch.arange(prompts, device=self.device) * seq + lengths - 1  # of each prompt its last token
        return self.head(self.norm(hidden[last]))

    def step(self, tokens: Tensor, lengths: Tensor, longest: int) -> Tensor:
        """One token [rows] at positions `lengths` [rows], of which `longest` is the largest -> logits [rows,
        vocabulary]."""
        rows = len(tokens)
        turns, start = self.turns[lengths], torch.arange(rows, device=self.device)  # [rows, 1, width / 2], [rows]
        hidden = self.embedding(tokens)  # [rows, width]
        seen: dict[int, tuple[Slots, Tensor]] = {}  # slots and mask for each capacity that layers have
        for before, attention, after, feed in self.layers:
            capacity = attention.capacity
            if capacity not in seen:
                reach = capacity if attention.whole else min(longest + 1, capacity)
                mask = hidden.new_zeros(rows, reach)
                mask.masked_fill_(torch.arange(reach, device=self.device) > lengths.unsqueeze(1), -torch.inf)
                # Layers with a window have a ring of places; the others never come around.
                seen[capacity] = (start, lengths % capacity), mask[:, None, None]
            hidden = attention.decode(hidden, before(hidden), turns, *seen[capacity])
            hidden = feed(hidden, after(hidden))
        return self.head(self.norm(hidden))

    def move(self, places: list[int], sources: list[int]) -> None:
        """Rows `sources` to `places`, in every layer's cache."""
        to, of = (torch.tensor(some, device=self.device) for some in (places, sources))
        for _, attention, _, _ in self.layers:
            attention.move(to, of)


def _feed_forward(module: Any, router: str, recorder: ExpertRecorder | None) -> FeedForward:
    children = dict(module.named_children())
    return Experts(module, router, recorder) if "experts" in children else Gated(module)


def _band(seq: int, window: int, like: Tensor) -> Tensor:
    """What is added to scores [seq, seq] so that a token sees itself and the window - 1 before it."""
    places = torch.arange(seq, device=like.device)
    back = places.unsqueeze(1) - places
    return like.new_zeros(seq, seq).masked_fill_((back < 0) | (back >= window), -torch.inf)
