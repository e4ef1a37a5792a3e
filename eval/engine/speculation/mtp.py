"""Drafts from a module that was trained to predict the token after the next one."""

from collections.abc import Sequence
from typing import Any, Protocol  # Any: modules of transformers, whose parts differ by family

import torch
from torch import Tensor, nn

from eval.engine.decoder import Decoder, layer_of, step_by
from eval.engine.families import FAMILIES, windows
from eval.engine.sampling import draw
from eval.engine.speculation.reading import Reading
from eval.engine.speculation.row import Row
from eval.engine.types import Sampling
from eval.engine.weights import Norm, Projection


class Module(Protocol):
    """DeepSeek-V3's module for multi-token prediction (arXiv 2412.19437, section 2.2), at depth 1.

    hidden_norm, token_norm  of the hidden state and of the embedding that it is given
    projection               of both side by side to the model's width
    layer                    a layer of the model's own class
    norm                     before the model's head
    """

    @property
    def hidden_norm(self) -> nn.Module: ...
    @property
    def token_norm(self) -> nn.Module: ...
    @property
    def projection(self) -> nn.Module: ...
    @property
    def layer(self) -> nn.Module: ...
    @property
    def norm(self) -> nn.Module: ...


class MtpDrafter:
    """Drafts `most` tokens by the module, which is applied to what it has made itself for those after the first.

    At position i the module is given the model's hidden state there and the token at i + 1, and predicts the one at
    i + 2. Its layer has a cache of its own. A drafted token is drawn from the module's distribution by the very number
    that the model's own token in its place will be drawn by: where both distributions are alike, so are the tokens.
    """

    sees = True

    def __init__(self, module: Module, config: Any, most: int, decoder: Decoder, sampling: Sampling) -> None:
        self.most, self.decoder, self.sampling = most, decoder, sampling
        self.hidden_norm, self.token_norm = Norm.of(module.hidden_norm), Norm.of(module.token_norm)
        self.projection, self.norm = Projection.of(module.projection), Norm.of(module.norm)
        self.layer = layer_of(module.layer, FAMILIES[config.model_type], windows(config)[-1])
        self.attention.spare(most)

    @property
    def attention(self) -> Any:
        return self.layer[1]

    def resize(self, rows: int, capacity: int, live: int) -> None:
        self.attention.resize(rows, capacity, live)

    def move(self, places: Tensor, sources: Tensor) -> None:
        self.attention.move(places, sources)

    def read(self, ids: Tensor, hidden: Tensor, lengths: Tensor, which: Tensor, first: int) -> None:
        """What the cache keeps of a text depends on no other token of it: attention itself is not needed. The entry of
        a text's last token waits for the token after it, and is overwritten by the first draft."""
        texts, seq = ids.shape
        following = torch.cat([ids[:, 1:], ids[:, :1]], dim=1)
        fused = self._fused(hidden.flatten(0, 1), following.flatten())
        before, attention, _, _ = self.layer
        _, entries = attention.project(before(fused), self.decoder.turns[:seq].repeat(texts, 1, 1))
        attention.fill(slice(first, first + len(which)), entries.view(texts, seq, -1), which, lengths)

    def draft(
        self, rows: Sequence[Row], counts: Sequence[int], tokens: Tensor, hidden: Tensor, reading: Reading
    ) -> list[list[int]]:
        deepest = max(counts)
        if deepest <= 0:
            return [[] for _ in rows]
        device = tokens.device
        numbers = torch.tensor([row.numbers(deepest) for row in rows], device=device)  # [rows, deepest]
        states = self._states(hidden, tokens, reading)
        # Of each row the last of its tokens.
        last = torch.tensor([len(row.fresh) for row in rows], device=device).cumsum(0) - 1
        states, position = states[last], reading.position[last]
        drafts = [self._draw(states, numbers[:, 0])]
        for depth in range(1, deepest):
            states = self._states(states, drafts[-1], Reading.one_each(position + depth))
            drafts.append(self._draw(states, numbers[:, depth]))
        every = torch.stack(drafts, dim=1).tolist()
        return [own[:count] for own, count in zip(every, counts, strict=True)]

    def _fused(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """The layer's input [n, width] of hidden states [n, width] and the tokens [n] after them."""
        embedded = self.decoder.embedding(tokens)
        return self.projection(torch.cat([self.hidden_norm(hidden), self.token_norm(embedded)], dim=-1))

    def _states(self, hidden: Tensor, tokens: Tensor, reading: Reading) -> Tensor:
        """What the head is given, [n, width]."""
        turns = self.decoder.turns[reading.position]
        return self.norm(step_by(self.layer, self._fused(hidden, tokens), turns, reading, {}))

    def _draw(self, states: Tensor, numbers: Tensor) -> Tensor:
        one = self.sampling
        return draw(self.decoder.head(states), one.temperature, numbers, one.top_p, one.top_k, one.min_p)[0]
