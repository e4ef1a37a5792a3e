"""A transformers model laid out for decoding: its weights, and a cache of many rows."""

from typing import Any  # modules of transformers, whose parts differ by family

import torch
from torch import Tensor

from eval.engine.attention import CachedAttention
from eval.engine.experts import ExpertRecorder
from eval.engine.families import FAMILIES, Family, windows
from eval.engine.feedforward import Experts, FeedForward, Gated
from eval.engine.speculation.reading import Reading
from eval.engine.weights import Norm, Projection
from eval.language_model import LanguageModel

Layer = tuple[Norm, CachedAttention, Norm, FeedForward]


class Decoder:
    """The forward of a model of `FAMILIES`, for prompts and for the next tokens of rows.

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
        self.layers = [
            layer_of(layer, family, window, recorder)
            for layer, window in zip(body.layers, windows(model.config), strict=True)
        ]
        self.norm, self.head = Norm.of(body.norm), Projection.of(head)
        self.device = head.weight.device
        self.rows = self.capacity = 0
        self.turns = torch.empty(0, 1, 0)

    def spare(self, count: int) -> None:
        """So many tokens of a row may be read in vain at a time."""
        for _, attention, _, _ in self.layers:
            attention.spare(count)

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

    def read(self, ids: Tensor, lengths: Tensor, which: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Read prompts ids [prompts, seq] of `lengths` [prompts], padded on the right, and give the rows from `first`
        on the cache of the prompt at `which` [rows]. Returns the logits after each prompt, [prompts, vocabulary], and
        the hidden states of all tokens after the last norm, [prompts, seq, width]."""
        prompts, seq = ids.shape
        # Prompts are padded on the right, so that position and place are the same in every row.
        turns = self.turns[:seq].repeat(prompts, 1, 1)
        hidden = self.embedding(ids).flatten(0, 1)  # [prompts * seq, width]
        for layer in self.layers:
            hidden = read_by(layer, hidden, turns, lengths, which, first)
        last = torch.arange(prompts, device=self.device) * seq + lengths - 1  # of each prompt its last token
        normed = self.norm(hidden)
        return self.head(normed[last]), normed.view(prompts, seq, -1)

    def step(self, tokens: Tensor, reading: Reading) -> tuple[Tensor, Tensor]:
        """Read tokens [n] where `reading` says -> logits [n, vocabulary], hidden states after the last norm [n,
        width]."""
        turns = self.turns[reading.position]  # [n, 1, width / 2]
        hidden = self.embedding(tokens)  # [n, width]
        masks: dict[tuple[int, int | None], Tensor] = {}  # one for all layers whose caches are alike
        for layer in self.layers:
            hidden = step_by(layer, hidden, turns, reading, masks)
        normed = self.norm(hidden)
        return self.head(normed), normed

    def move(self, places: Tensor, sources: Tensor) -> None:
        """Rows `sources` [n] to `places` [n], in every layer's cache."""
        for _, attention, _, _ in self.layers:
            attention.move(places, sources)


def layer_of(module: Any, family: Family, window: int | None, recorder: ExpertRecorder | None = None) -> Layer:
    """A layer of transformers laid out."""
    return (Norm.of(module.input_layernorm), family.attention(module.self_attn, window),
            Norm.of(module.post_attention_layernorm), _feed_forward(module.mlp, family.router, recorder))


def read_by(layer: Layer, hidden: Tensor, turns: Tensor, lengths: Tensor, which: Tensor, first: int) -> Tensor:
    """A layer over prompts, as `Decoder.read` has them: hidden [prompts * seq, width], turns [prompts * seq, ..] -> the
    same, and what its caches keep of them."""
    before, attention, after, feed = layer
    prompts = len(lengths)
    seq = len(hidden) // prompts
    queries, entries = attention.project(before(hidden), turns)
    entries = entries.view(prompts, seq, -1)
    mask = None
    if attention.window is not None and seq > attention.window:
        mask = _band(seq, attention.window, hidden)
    mixed = attention.over_prompts(queries.view(prompts, seq, *queries.shape[1:]), entries, mask)
    attention.fill(slice(first, first + len(which)), entries, which, lengths)
    hidden = attention.output(hidden, mixed)
    return feed(hidden, after(hidden))


def step_by(
    layer: Layer, hidden: Tensor, turns: Tensor, reading: Reading, masks: dict[tuple[int, int | None], Tensor]
) -> Tensor:
    """A layer over the tokens of a reading: hidden [n, width] -> the same. `masks` are those made so far, by capacity
    and window."""
    before, attention, after, feed = layer
    capacity, window = attention.capacity, attention.window
    if (capacity, window) not in masks:
        reach = capacity if attention.whole else min(reading.longest + 1, capacity)
        masks[capacity, window] = reading.mask(capacity, window, reach, hidden)
    hidden = attention.decode(hidden, before(hidden), turns, reading, masks[capacity, window])
    return feed(hidden, after(hidden))


def _feed_forward(module: Any, router: str, recorder: ExpertRecorder | None) -> FeedForward:
    children = dict(module.named_children())
    return Experts(module, router, recorder) if "experts" in children else Gated(module)


def _band(seq: int, window: int, like: Tensor) -> Tensor:
    """What is added to scores [seq, seq] so that a token sees itself and the window - 1 before it."""
    places = torch.arange(seq, device=like.device)
    back = places.unsqueeze(1) - places
    return like.new_zeros(seq, seq).masked_fill_((back < 0) | (back >= window), -torch.inf)
