"""A module that predicts the token after the next one (DeepSeek-V3, arXiv 2412.19437, section 2.2)."""

import copy
from typing import Any  # layers, norms and configs of transformers, which differ by family
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eval.engine.families import why_not, windows
from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError


class Mtp(nn.Module):
    """h' = M [RMSNorm(h_i); RMSNorm(Emb(t_{i+1}))], a layer of the model's own class, a norm, and the model's head: the
    distribution of t_{i+2} (equations 21 to 23). Embedding and head are the model's, and no part of this.

    h_i is the model's last hidden state behind its last norm, and the norm before the head is this module's own: the
    paper leaves both open, and so the makers' weights and vLLM's reading of them have it. The paper has a chain of such
    modules, one for each further token; as in the makers' weights there is one, which is applied to itself. Its layer
    and its norms begin as copies of the model's last ones, M as small random numbers of a stream of its own. A
    mixture's router is not balanced here.
    """

    def __init__(self, model: LanguageModel, seed: int = 0) -> None:
        super().__init__()
        body: Any = model.get_decoder()
        width = model.config.hidden_size
        self.hidden_norm, self.token_norm = copy.deepcopy(body.norm), copy.deepcopy(body.norm)
        self.projection = nn.Linear(2 * width, width, bias=False, device="meta")
        self.layer, self.norm = copy.deepcopy(body.layers[-1]), copy.deepcopy(body.norm)
        drawn = torch.empty(width, 2 * width).normal_(0, width**-0.5, generator=torch.Generator().manual_seed(seed))
        self.projection.weight = nn.Parameter(drawn.to(body.norm.weight))
        self.window = windows(model.config)[-1]
        self.requires_grad_(requires_grad=True)

    def forward(
        self, model: LanguageModel, hidden: Tensor, following: Tensor, embedding: Tensor | None = None
    ) -> Tensor:
        """What the model's head makes logits of, [rows, seq, width]: of its hidden states [rows, seq, width] from
        position 0 on and of the tokens after each, `following` [rows, seq]. Rows are padded on the right. Tokens are
        looked up in `embedding` [vocabulary, width] where it is given, else in the model's own."""
        body: Any = model.get_decoder()
        embedded = model.get_input_embeddings()(following) if embedding is None else F.embedding(following, embedding)
        fused = self.projection(torch.cat([self.hidden_norm(hidden), self.token_norm(embedded)], dim=-1))
        positions = torch.arange(hidden.shape[1], device=hidden.device).unsqueeze(0)
        # Without its hooks: DeepSpeed counts calls of a model's parts, and wants as many of every process.
        turned = body.rotary_emb.forward(fused, positions)
        made = self.layer(
            fused, attention_mask=self._mask(fused), position_ids=positions, use_cache=False, position_embeddings=turned
        )
        normed: Tensor = self.norm(made[0] if isinstance(made, tuple) else made)
        return normed

    def _mask(self, like: Tensor) -> Tensor:
        """What is added to scores, [1, 1, seq, seq]: a token sees itself and those before it."""
        places = torch.arange(like.shape[1], device=like.device)
        back = places.unsqueeze(1) - places
        hidden = (back < 0) if self.window is None else (back < 0) | (back >= self.window)
        return like.new_zeros(1, 1, *hidden.shape).masked_fill_(hidden, torch.finfo(like.dtype).min)


UNTRAINED = ("the model's MTP module goes along as it is: it drafts for the model of before, and fewer of its drafts "
             "will stand; sft and grpo with mtp: {} train it, too")

_BESIDE: WeakKeyDictionary[LanguageModel, Mtp] = WeakKeyDictionary()
"""By the model that each belongs to. It is no submodule of it: what transformers saves, and what a training of the
model moves, stays the model alone."""


def of(model: LanguageModel) -> Mtp | None:
    """The module that belongs to a model."""
    return _BESIDE.get(model)


def attach(model: LanguageModel, module: Mtp) -> None:
    """Say that the module belongs to the model, and goes wherever it goes."""
    _BESIDE[model] = module


def begin(model: LanguageModel, seed: int) -> Mtp:
    """The module of a model that is to be trained: a new one, of this seed, where it has none. Raises StageError for a
    family whose layers are not known here."""
    require_possible(model.config)
    own = of(model)
    if own is None:
        own = Mtp(model, seed)
        attach(model, own)
    return own


def require_possible(config: Any) -> None:
    """Raise StageError for the config of a family whose layers are not known here."""
    if reason := why_not(config):
        raise StageError(f"mtp: {reason}; leave it out")
