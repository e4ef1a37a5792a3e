"""Log-probabilities of tokens under a model in training: from logits held at once where these are few; else by the head
on a slice of the tokens at a time, or trl's way.

trl 1.x (#7077) computes them in tiles of the vocabulary, whose logits it makes once more in the backward. That saves
memory. Without Triton, on CPUs, it is torch operations over every position, prompts and padding too, in several passes:
a quarter of a GRPO step of the quickstart's, and 37% of a step of SFT of SmolLM2-135M on GSM8K, which takes two thirds
of its time without it. It is left GPUs, sharded models, and families that scale or cap their logits.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from trl.trainer.utils import add_fused_lm_head

from eval.language_model import LanguageModel
from pipeline.models.positions import positions_of
from pipeline.models.shards import sharded

SLICE = 2**25
"""Logits of a slice of tokens: 128 MiB of fp32, and about three times that while they are used."""

_CHANGED_AFTER = (
    "final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier"
)
"""Fields of configs of families that change what their head gives: those that trl knows."""

_UNKNOWN_TO_TRL = (
    "logits_soft_cap", "logits_mup_width_multiplier", "output_logit_soft_cap", "unpadded_vocab_size"
)
"""Fields with which families (RecurrentGemma, Inkling, xLSTM) change their logits that trl's tiles do not know. Their
logits are held, however many; a test looks for others in transformers."""

_BEFORE_HEAD = frozenset({
    "bert", "big_bird", "electra", "ernie", "megatron-bert", "modernbert-decoder", "rembert", "roc_bert", "roformer"
})
"""Families with layers between their last hidden states and their head, of whose logits the same is true."""

Score = Callable[..., tuple[Tensor, ...]]
"""Of logits [tokens, vocabulary] and ids [tokens], and of what else is given of these tokens: values [tokens], the
log-probabilities first where both are wanted."""

LOGITS = 2**26
"""Most logits that are held at once, of fp32: a quarter of a GiB, and about three times that with what the backward
needs."""


@contextlib.contextmanager
def fused_head(model: LanguageModel, temperature: float) -> Iterator[None]:
    """While this lasts the model can be asked for log-probabilities at this temperature without its logits (trl's
    tiles).

    trl sets `forward` on the instance; afterwards the model has the forward of its class again.
    """
    add_fused_lm_head(model, temperature=temperature, outputs=("log_probs", "entropy"))
    yield
    del model.forward  # type: ignore[attr-defined]


def token_logprobs(model: LanguageModel, batch: Mapping[str, Tensor]) -> Tensor:
    """Of every token of `input_ids` [rows, seq] after the first, [rows, seq - 1]; `labels` [rows, seq] are -100 where
    the value is to be 0. A model with too many logits must have a `fused_head` (trl's SFTTrainer gives it one)."""
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]
    if not few(model, ids, ids.shape[1]):
        return _sliced(model, ids, mask, labels, of_tokens)[0]
    # [rows, seq - 1, vocabulary]
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    return -F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="none").view(len(ids), -1)


def completion_logprobs(
    model: LanguageModel, ids: Tensor, mask: Tensor, count: int, temperature: float, *, entropy_moves: bool = False
) -> tuple[Tensor, Tensor]:
    """Of the last `count` tokens of ids [rows, seq]: log-probabilities and entropies, both [rows, count] and 0 where
    `mask` [rows, seq] is. Entropies are for the log; with `entropy_moves` they have their gradient, which trl's always
    have. A model with too many logits must have a `fused_head` of this temperature."""
    score = partial(of_logits, temperature=temperature, entropy_moves=entropy_moves)
    if not few(model, ids, count):
        # trl scores every label that is not -100, and only completions are wanted.
        labels = ids.masked_fill(mask == 0, -100)
        labels[:, :-count] = -100
        logprobs, entropies = _sliced(model, ids, mask, labels, score)
        return logprobs[:, -count:], entropies[:, -count:]
    logits = model(
        input_ids=ids, attention_mask=mask, logits_to_keep=count + 1, use_cache=False, **positions_of(model, mask)
    ).logits[:, :-1]
    drawn, entropies = score(logits, ids[:, -count:])
    padding = mask[:, -count:] == 0
    return drawn.masked_fill(padding, 0), entropies.masked_fill(padding, 0)


def head_alone(model: LanguageModel) -> bool:
    """Whether the model's logits are what its head makes of its last hidden states, whole on a CPU."""
    return not _collective(model) and model.device.type == "cpu" and _by_head(model)


def _by_head(model: LanguageModel) -> bool:
    return not changes_logits(model.config.get_text_config().to_dict())


def changes_logits(fields: Mapping[str, object]) -> bool:
    """Whether a family with these fields of a config makes its logits of more than its hidden states and its head."""
    return any(fields.get(name) for name in _CHANGED_AFTER) or held_always(fields)


def held_always(fields: Mapping[str, object]) -> bool:
    """Whether only the whole model knows the logits of a family with these fields of a config."""
    return fields.get("model_type") in _BEFORE_HEAD or any(fields.get(name) for name in _UNKNOWN_TO_TRL)


def _collective(model: LanguageModel) -> bool:
    """Whether processes run the model's forwards together. All then have to go the same way, whatever rows they have:
    trl's, which is a forward of the whole model. The head alone is not gathered for who uses it alone."""
    return sharded(model) or bool(extract_model_from_parallel(model) is not model)


def scores(model: LanguageModel, ids: Tensor, mask: Tensor, labels: Tensor, score: Score) -> tuple[Tensor, ...]:
    """What `score` gives of the tokens of ids [rows, seq] after the first, each [rows, seq - 1], and 0 where labels
    [rows, seq] are -100. The logits of a slice are thrown away, and made once more in the backward."""
    hidden = model.get_decoder()(
        input_ids=ids, attention_mask=mask, use_cache=False, **positions_of(model, mask)
    ).last_hidden_state[:, :-1]
    chosen = labels[:, 1:] != -100
    wanted, states = ids[:, 1:][chosen], hidden[chosen]  # [chosen], [chosen, width]
    empty = hidden.new_zeros(chosen.shape, dtype=torch.float32)
    return tuple(empty.masked_scatter(chosen, values) for values in in_slices(model, states, wanted, score))


def of_chosen(
    model: LanguageModel, ids: Tensor, mask: Tensor, chosen: Tensor, score: Score, *beside: Tensor
) -> tuple[Tensor, ...]:
    """What `score` gives of the tokens of ids [rows, seq] after the first that are chosen, [rows, seq - 1], and of what
    is given `beside` them, each [chosen, ..]. Logits are those of a slice at a time; they are held at once where they
    are few, where processes run forwards together, and where not the head alone makes them."""
    wanted = ids[:, 1:][chosen]
    if few(model, ids, ids.shape[1]) or _collective(model) or not _by_head(model):
        logits = model(
            input_ids=ids, attention_mask=mask, use_cache=False, **positions_of(model, mask)
        ).logits[:, :-1]
        return score(logits[chosen], wanted, *beside)
    hidden = model.get_decoder()(
        input_ids=ids, attention_mask=mask, use_cache=False, **positions_of(model, mask)
    ).last_hidden_state[:, :-1]
    return in_slices(model, hidden[chosen], wanted, score, *beside)


def in_slices(
    model: LanguageModel, states: Tensor, tokens: Tensor, score: Score, *beside: Tensor,
    head: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """What `score` gives of tokens [n], and of what is `beside` them [n, ..], under the head on the states before them,
    [n, width]; each [n, ..]. The head is the model's where none is given."""
    head = head or model.get_output_embeddings()
    size = max(1, SLICE // model.config.get_text_config().vocab_size)
    parts = [
        checkpoint(_of_states, head, score, *some, use_reentrant=False)
        for some in zip(*(torch.split(one, size) for one in (states, tokens, *beside)), strict=True)
    ]
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


def _of_states(head: Callable[[Tensor], Tensor], score: Score, states: Tensor, *tokens: Tensor) -> tuple[Tensor, ...]:
    return score(head(states), *tokens)


def of_tokens(logits: Tensor, ids: Tensor, temperature: float = 1.0) -> tuple[Tensor]:
    """Log-probabilities of ids [tokens] under logits [tokens, vocabulary] alone, which is half of `of_logits`' work."""
    scores = logits.float() if temperature == 1 else logits.float() / temperature
    return (-F.cross_entropy(scores, ids, reduction="none"),)


def of_logits(
    logits: Tensor, ids: Tensor, temperature: float, *, entropy_moves: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of ids [..] under logits [.., vocabulary], and entropies, which have a gradient with
    `entropy_moves` alone; both [..]."""
    every = (logits.float() / temperature).log_softmax(dim=-1)
    with torch.set_grad_enabled(entropy_moves and torch.is_grad_enabled()):
        entropies: Tensor = _Entropy.apply(every)  # type: ignore[no-untyped-call]
    return every.gather(-1, ids.unsqueeze(-1)).squeeze(-1), entropies


class _Entropy(torch.autograd.Function):
    """Of log-probabilities [.., vocabulary], [..]. Written out, since autograd would keep two more tensors of the size
    of the logits; this keeps the log-probabilities alone, which those of the drawn tokens keep as well."""

    @staticmethod
    def forward(ctx: FunctionCtx, every: Tensor) -> Tensor:
        ctx.save_for_backward(every)
        # In place, since a second copy of the vocabulary is what holds most memory here.
        return every.exp().mul_(every).sum(dim=-1).neg_()

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        [every] = ctx.saved_tensors  # type: ignore[attr-defined]
        # d(-p log p) / d(log p) = -p (log p + 1)
        found: Tensor = every.exp().mul_(every + 1).mul_(-gradient.unsqueeze(-1))
        return found


def few(model: LanguageModel, ids: Tensor, count: int) -> bool:
    """Whether the logits of `count` tokens of each of the rows of ids [rows, seq] are held at once: on CPUs, up to
    `LOGITS`; everywhere, where nothing else makes them right."""
    # The engine that DeepSpeed wraps around a model has a config of its own.
    if held_always(extract_model_from_parallel(model).config.get_text_config().to_dict()):
        return True
    if ids.device.type != "cpu" or _collective(model):
        return False
    return bool(len(ids) * count * model.config.get_text_config().vocab_size <= LOGITS)


def _sliced(
    model: LanguageModel, ids: Tensor, mask: Tensor, labels: Tensor, score: Score
) -> tuple[Tensor, ...]:
    """What `score` gives of the tokens of ids [rows, seq] after the first, each [rows, seq - 1], without their logits
    being held; of trl, log-probabilities and entropies."""
    if head_alone(model):
        return scores(model, ids, mask, labels, score)
    # trl's, at the temperature that its fused head was made for
    found = model(
        input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True, **positions_of(model, mask)
    )
    return found.log_probs, found.entropy  # type: ignore[attr-defined]
