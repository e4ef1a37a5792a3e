"""Log-probabilities of tokens under a model in training: from logits held at once where these are few; else by the head
on a slice of the tokens at a time (`head.py`), or trl's way.

trl 1.x (#7077) computes them in tiles of the vocabulary, whose logits it makes once more in the backward. That saves
memory. Without Triton, on CPUs, it is torch operations over every position, prompts and padding too, and took a quarter
of a GRPO step. It is left what `head.py` is not for: GPUs, several processes, and families that scale or cap logits.
"""

import contextlib
from collections.abc import Iterator, Mapping

from accelerate.utils import extract_model_from_parallel
from torch import Tensor
from torch.nn import functional as F
from trl.trainer.utils import add_fused_lm_head

from eval.language_model import LanguageModel
from pipeline.training import head
from pipeline.training.head import of_logits

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
        return _in_slices(model, ids, mask, labels, 1.0)[0]
    # [rows, seq - 1, vocabulary]
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    return -F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="none").view(len(ids), -1)


def completion_logprobs(
    model: LanguageModel, ids: Tensor, mask: Tensor, count: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Of the last `count` tokens of ids [rows, seq]: log-probabilities and entropies, both [rows, count] and 0 where
    `mask` [rows, seq] is. Entropies are for the log and have no gradient. A model with too many logits must have a
    `fused_head` of this temperature."""
    if not few(model, ids, count):
        # trl scores every label that is not -100, and only completions are wanted.
        labels = ids.masked_fill(mask == 0, -100)
        labels[:, :-count] = -100
        logprobs, entropies = _in_slices(model, ids, mask, labels, temperature)
        return logprobs[:, -count:], entropies[:, -count:]
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=count + 1, use_cache=False).logits[:, :-1]
    drawn, entropies = of_logits(logits, ids[:, -count:], temperature)
    padding = mask[:, -count:] == 0
    return drawn.masked_fill(padding, 0), entropies.masked_fill_(padding, 0)


def few(model: LanguageModel, ids: Tensor, count: int) -> bool:
    """Whether the logits of `count` tokens of each of the rows of ids [rows, seq] are held at once: on CPUs, up to
    `LOGITS`."""
    config = extract_model_from_parallel(model).config  # of a model that accelerate may have wrapped
    return ids.device.type == "cpu" and len(ids) * count * config.get_text_config().vocab_size <= LOGITS


def _in_slices(
    model: LanguageModel, ids: Tensor, mask: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the tokens of ids [rows, seq] after the first, both [rows, seq - 1], without
    their logits being held."""
    if head.applies(model):
        return head.chosen_logprobs(model, ids, mask, labels, temperature)
    # trl's, at the temperature that its fused head was made for
    found = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    return found.log_probs, found.entropy  # type: ignore[attr-defined]
