"""A model's head on some of its tokens, a slice of them at a time, for vocabularies whose logits are too many to hold.

The logits of a slice are thrown away and made once more in the backward, as trl does (#7077). What is left out is what
trl does on CPUs besides: logits of tokens that nobody asked for (prompts, padding), and passes over each tile of the
vocabulary. A step of SFT of SmolLM2-135M on GSM8K spent 37% of its time there, and does now 15%.
"""

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from eval.language_model import LanguageModel

LOGITS = 2**25
"""Logits of a slice: 128 MiB of fp32, and about three times that while they are used."""

_CHANGED_AFTER = (
    "final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier"
)
"""Fields of configs of families that change what their head gives: those that trl knows."""


def applies(model: LanguageModel) -> bool:
    """Whether the model's logits are what its head makes of its last hidden states, on a CPU and in one process."""
    fields = extract_model_from_parallel(model).config.get_text_config().to_dict()
    alone = extract_model_from_parallel(model) is model
    return alone and model.device.type == "cpu" and not any(fields.get(name) for name in _CHANGED_AFTER)


def chosen_logprobs(
    model: LanguageModel, ids: Tensor, mask: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the tokens of ids [rows, seq] after the first, and entropies of what they were drawn from,
    which have no gradient; both [rows, seq - 1], and 0 where labels [rows, seq] are -100."""
    hidden = model.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
    chosen = labels[:, 1:] != -100
    wanted, states = ids[:, 1:][chosen], hidden[chosen]  # [chosen], [chosen, width]
    head = model.get_output_embeddings()
    size = max(1, LOGITS // model.config.get_text_config().vocab_size)
    parts = [
        checkpoint(_of_states, head, some, tokens, temperature, use_reentrant=False)
        for some, tokens in zip(torch.split(states, size), torch.split(wanted, size), strict=True)
    ]
    logprobs, entropies = (torch.cat(values) for values in zip(*parts, strict=True))
    empty = hidden.new_zeros(chosen.shape, dtype=torch.float32)
    return empty.masked_scatter(chosen, logprobs), empty.masked_scatter(chosen, entropies)


def _of_states(head: torch.nn.Module, states: Tensor, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return of_logits(head(states), tokens, temperature)


def of_logits(logits: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of ids [..] under logits [.., vocabulary], and entropies, which have no gradient; both [..]."""
    every = (logits.float() / temperature).log_softmax(dim=-1)
    with torch.no_grad():
        # In place, since a second copy of the vocabulary is what holds most memory here.
        entropies = every.exp().mul_(every).sum(dim=-1).neg_()
    return every.gather(-1, ids.unsqueeze(-1)).squeeze(-1), entropies
