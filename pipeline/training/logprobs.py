"""Log-probabilities of tokens under a model in training: from logits held at once where these are few, else trl's way.

trl 1.x (#7077) computes them in tiles of the vocabulary, whose logits it makes once more in the backward. That saves memory. Without
Triton, on CPUs, it is torch operations over every position, prompts and padding too, and took a quarter of a GRPO step.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from trl import GRPOTrainer

LOGITS = 2**26
"""Most logits that are held at once, of fp32: a quarter of a GiB, and about three times that with what the backward needs."""


def token_logprobs(trainer: Any, model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Of every token of `input_ids` [rows, seq] after the first, [rows, seq - 1]; `labels` are -100 where the value is to be 0."""
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]
    if not few(trainer, model, ids, ids.shape[1]):
        found: Tensor = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True).log_probs
        return found
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    return -F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="none").view(len(ids), -1)


def completion_logprobs(trainer: Any, model: Any, ids: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Of the last `count` tokens of ids [rows, seq], at the GRPOTrainer's temperature: log-probabilities and entropies, both
    [rows, count] and 0 where `mask` is. Entropies are for the log and have no gradient."""
    if not few(trainer, model, ids, count):
        logprobs, entropies, _ = GRPOTrainer._get_per_token_logps_and_entropies(trainer, model, ids, mask, count, compute_entropy=True)
        return logprobs, entropies
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=count + 1, use_cache=False).logits[:, :-1]
    drawn, entropies = of_logits(logits, ids[:, -count:], trainer.temperature)
    padding = mask[:, -count:] == 0
    return drawn.masked_fill(padding, 0), entropies.masked_fill_(padding, 0)


def of_logits(logits: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of ids [rows, seq] under logits [rows, seq, vocabulary], and entropies, which have no gradient."""
    every = (logits.float() / temperature).log_softmax(dim=-1)
    with torch.no_grad():
        entropies = every.exp().mul_(every).sum(dim=-1).neg_()
    return every.gather(-1, ids.unsqueeze(-1)).squeeze(-1), entropies


def few(trainer: Any, model: Any, ids: Tensor, count: int) -> bool:
    """Whether the logits of `count` tokens of each of the rows of `ids` are held at once: on CPUs, up to `LOGITS` of them."""
    vocabulary = trainer.accelerator.unwrap_model(model).config.get_text_config().vocab_size
    return ids.device.type == "cpu" and len(ids) * count * vocabulary <= LOGITS
