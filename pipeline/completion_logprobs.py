"""Log-probabilities and entropies of completions under a policy: from their own logits where these are few, else trl's way."""

from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

LOGITS = 2**26
"""Most logits that are held at once, of fp32: a quarter of a GiB, about three times that with what the backward needs."""


def completion_logprobs(trainer: Any, model: Any, ids: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Of the last `count` tokens of ids [rows, seq], at the trainer's temperature: log-probabilities and entropies, both [rows, count]
    and 0 where `mask` is. Entropies are for the log and have no gradient.

    trl 1.x computes them in tiles of the vocabulary, whose logits it makes once more in the backward. That saves memory; without
    Triton, on CPUs, it also scores prompts and padding, and took a quarter of a GRPO step. So what fits is computed at once there.
    """
    if ids.device.type != "cpu" or len(ids) * count * model.config.vocab_size > LOGITS:
        logprobs, entropies, _ = GRPOTrainer._get_per_token_logps_and_entropies(trainer, model, ids, mask, count, compute_entropy=True)
        return logprobs, entropies
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=count + 1, use_cache=False).logits[:, :-1].float()
    every = (logits / trainer.temperature).log_softmax(dim=-1)
    padding = mask[:, -count:] == 0
    drawn = every.gather(-1, ids[:, -count:].unsqueeze(-1)).squeeze(-1)
    with torch.no_grad():
        entropies = every.exp().mul_(every).sum(dim=-1).neg_()
    return drawn.masked_fill(padding, 0), entropies.masked_fill_(padding, 0)
