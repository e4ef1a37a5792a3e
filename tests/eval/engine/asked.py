"""What the engines' tests ask, of which engine, and what they hold the answers against."""

from collections.abc import Callable
from typing import Any

import torch

from eval.engine.native import NativeEngine
from eval.engine.plain import PlainEngine
from eval.engine.types import Request, Sampled, Sampling, rollout_seed

Tiny = Callable[..., Any]
EOS, PAD = 3, 0
SAMPLING = Sampling(max_tokens=16)


def requests(prompts: int = 5, each: int = 4) -> list[Request]:
    """Prompts of different lengths, the first of a single token."""
    generator = torch.Generator().manual_seed(1)
    lengths = [1 + 3 * i for i in range(prompts)]
    ids = [torch.randint(4, 48, (length,), generator=generator).tolist() for length in lengths]
    return [Request(prompt, [rollout_seed("test", i, j) for j in range(each)]) for i, prompt in enumerate(ids)]


def native(model: Any, rows: int = 256) -> NativeEngine:
    return NativeEngine(model, {EOS}, rows)


def plain(model: Any) -> PlainEngine:
    return PlainEngine(model, {EOS}, PAD)


@torch.no_grad()
def full_forward(model: Any, prompt: Any, ids: list[int], temperature: float) -> torch.Tensor:
    """Log-probabilities of `ids` after the prompt, without any cache."""
    every = torch.tensor([[*prompt, *ids]])
    logits = model(input_ids=every, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.float() / temperature, -1).gather(-1, torch.tensor(ids).unsqueeze(-1)).squeeze(-1)


class Tokenizer:
    """What `engine_for` reads of a tokenizer."""

    eos_token_id, pad_token_id, chat_template = EOS, PAD, None
    all_special_ids = (PAD, 2, EOS, 5)

    def get_added_vocab(self) -> dict[str, int]:
        return {}


def flat(groups: list[list[Sampled]]) -> list[Sampled]:
    return [one for group in groups for one in group]


def ids(groups: list[list[Sampled]]) -> list[list[list[int]]]:
    return [[one.ids for one in group] for group in groups]
