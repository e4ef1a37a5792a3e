"""Teachers whose distributions over the next token are told to a student of the same tokenizer.

Of several teachers the student is told the mean of their probabilities (Hinton, Vinyals and Dean 2015, arXiv
1503.02531, section 3; You et al. 2017, "Learning from multiple teacher networks"). Left out are weights for single
teachers, and choosing between them for each token.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import StageError
from pipeline.contract.stage import Context
from pipeline.disk.durable import JsonObject
from pipeline.distillation import divergences
from pipeline.models import pretrained, special_tokens
from pipeline.models.shards import built_whole
from pipeline.training.logprobs import of_chosen

WHOLE = 4096
"""The largest vocabulary whose words are all told apart where a recipe does not say how many are."""
TOP_K = 128
"""How many are of a larger one."""

_SHAPE = ("model_type", "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
"""Fields of a config that a student that is born again has in common with its teacher."""


class Told(NamedTuple):
    """Distributions over the next token: log-probabilities [.., words], of all known words; or [.., k + 1] of the words
    `ids` [.., k] and of all others together."""

    log_probs: Tensor
    ids: Tensor | None


@dataclass(frozen=True)
class Words:
    """The words that distributions are over. `known` are those that the tokenizer knows: a family's models have
    vocabularies that are padded to different sizes (152,064 and 151,936 in Qwen2.5; trl #3028), and what is beyond is
    no word. `top_k` are those that are told apart of each distribution, None for all."""

    known: int
    top_k: int | None

    @classmethod
    def of(cls, known: int, top_k: int | None) -> "Words":
        if top_k is None:
            return cls(known, None if known <= WHOLE else TOP_K)
        return cls(known, top_k if top_k < known else None)

    @property
    def width(self) -> int:
        """Of a distribution that is told."""
        return self.known if self.top_k is None else self.top_k + 1

    def log_probs(self, logits: Tensor, temperature: float) -> Tensor:
        """Over all known words, [.., known]."""
        return divergences.log_distribution(logits[..., : self.known], temperature)

    def told(self, log_probs: Tensor, ids: Tensor) -> Told:
        """Of log-probabilities [.., known] what a student is told: beside the likeliest words the one that stands
        there, ids [..], which a student that drew it has most to learn about."""
        if self.top_k is None:
            return Told(log_probs, None)
        chosen = log_probs.scatter(-1, ids.unsqueeze(-1), torch.inf).topk(self.top_k, dim=-1).indices
        return Told(divergences.bucketed(log_probs, chosen), chosen)

    def seen(self, logits: Tensor, temperature: float, ids: Tensor | None) -> Tensor:
        """A student's log-probabilities of what it was told of: [.., width]."""
        log_probs = self.log_probs(logits, temperature)
        return log_probs if ids is None else divergences.bucketed(log_probs, ids)


def loaded(ctx: Context, reference: str) -> tuple[LanguageModel, Tokenizer]:
    """The teacher at an input reference, whole and not to be trained."""
    # What loading a model draws, a student is not to know of.
    with torch.random.fork_rng(devices=[]), built_whole():
        model, tokenizer = pretrained.take(ctx, reference)
    return model.eval().requires_grad_(False), tokenizer


class Teachers:
    """Models that are not trained, of which the mean is told."""

    def __init__(self, models: Sequence[LanguageModel], words: Words, temperature: float) -> None:
        self.models, self.words, self.temperature = models, words, temperature

    @classmethod
    def of(
        cls, ctx: Context, references: Sequence[str], tokenizer: Tokenizer, words: Words, temperature: float
    ) -> "Teachers":
        """The models at these input references, for a student with this tokenizer. Raises StageError where one has
        another."""
        models: list[LanguageModel] = []
        for reference in references:
            model, theirs = loaded(ctx, reference)
            require_same_tokenizer(tokenizer, theirs, ctx.label(reference))
            models.append(model)
        return cls(models, words, temperature)

    def to(self, device: torch.device) -> "Teachers":
        for model in self.models:
            model.to(device)
        return self

    @torch.no_grad()
    def told(self, ids: Tensor, mask: Tensor, chosen: Tensor) -> Told:
        """Of the tokens of ids [rows, seq] after the first that are chosen, [rows, seq - 1]."""
        # A student may have drawn what is no word, for which a teacher need not have an embedding.
        ids = ids.clamp(max=self.words.known - 1)
        mean: Tensor | None = None
        score = partial(_log_probs, words=self.words, temperature=self.temperature)
        for model in self.models:
            [found] = of_chosen(model, ids, mask, chosen, score)
            require_numbers(found, model)
            mean = found if mean is None else torch.logaddexp(mean, found)
        assert mean is not None
        if len(self.models) > 1:
            mean = mean.log_softmax(dim=-1)  # divides by their number
        return self.words.told(mean, ids[:, 1:][chosen])


def require_numbers(found: Tensor, teacher: LanguageModel) -> None:
    """Raises StageError where something of what the teacher says is no number: its student would learn nothing, and
    its learning rate would be blamed for it."""
    if bool(found.isnan().any()):
        raise StageError(
            f"the teacher {teacher.config.name_or_path or teacher.config.model_type} computes NaN, which is no number: "
            "its training went astray, its weights are damaged, or its numbers are too large for "
            f"{str(teacher.dtype).removeprefix('torch.')}; take another teacher, or save this one in another dtype"
        )


def _log_probs(logits: Tensor, _ids: Tensor, words: Words, temperature: float) -> tuple[Tensor]:
    return (words.log_probs(logits, temperature),)


def words_of(
    ctx: Context, references: Sequence[str], student: LanguageModel, tokenizer: Tokenizer, top_k: int | None
) -> Words:
    """Those that the student, its tokenizer and the teachers at these input references all have."""
    heads = [student.config.get_text_config().to_dict(), *(pretrained.config_of(ctx.path(one)) for one in references)]
    return Words.of(min(special_tokens.words(tokenizer), *(int(fields["vocab_size"]) for fields in heads)), top_k)


def require_one_shape(student: JsonObject, teacher: JsonObject, label: str) -> None:
    """Raises StageError where the teacher's config is of another architecture or size than the student's."""
    for name in _SHAPE:
        if student.get(name) != teacher.get(name):
            raise StageError(f"{label} is no earlier self of the student: its {name} is {teacher.get(name)}, the "
                             f"student's {student.get(name)}; take method: logits")


def require_same_tokenizer(student: Tokenizer, teacher: Tokenizer, label: str) -> None:
    """Raises StageError where the teacher's tokens are not the student's."""
    if student.get_vocab() == teacher.get_vocab() and _model_of(student) == _model_of(teacher):
        return
    raise StageError(f"{label} has another tokenizer than the student, so that their distributions are not over the "
                     "same words: take method: cross_tokenizer of distill, or traces, which are text")


def _model_of(tokenizer: Tokenizer) -> object:
    """How it cuts words into tokens, where tokenizers' library does so."""
    if not tokenizer.is_fast:
        return None
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"].get("merges")
