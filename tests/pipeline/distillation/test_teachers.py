"""What teachers tell a student: over which words, of several teachers the mean, and of one that reads other words
nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.contract.errors import StageError
from pipeline.distillation.divergences import reverse_kl
from pipeline.distillation.teachers import TOP_K, WHOLE, Teachers, Words, require_same_tokenizer
from pipeline.models.tokenizer import train_tokenizer

Tiny = Callable[..., Any]
IDS = torch.tensor([[5, 9, 7, 30, 6], [8, 8, 11, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
CHOSEN = torch.tensor([[False, True, True, True], [True, True, False, False]])


def test_small_vocabularies_are_told_whole_and_large_ones_by_their_likeliest_words() -> None:
    assert Words.of(WHOLE, None) == Words(WHOLE, None)
    assert Words.of(WHOLE + 1, None) == Words(WHOLE + 1, TOP_K)
    assert Words.of(40, 39).width == 40  # 39 words, and the others as one
    assert Words.of(40, 40) == Words(40, None)


def test_what_a_vocabulary_is_padded_with_is_no_word(tiny: Tiny) -> None:
    """Two heads of one family, padded to 48 and 64 words, of which the tokenizer knows 40."""
    words = Words(40, None)
    for size in (48, 64):
        model = tiny("qwen3", vocab_size=size)
        told = Teachers([model], words, 2.0).told(IDS, MASK, CHOSEN).log_probs
        logits = model(input_ids=IDS, attention_mask=MASK).logits[:, :-1][CHOSEN][:, :40]
        assert torch.allclose(told.exp(), torch.softmax(logits / 2.0, dim=-1), atol=1e-6)


def test_several_teachers_are_the_mean_of_their_probabilities(tiny: Tiny) -> None:
    models, words = [tiny("qwen3"), tiny("qwen3_moe"), tiny("llama")], Words(48, None)
    single = [Teachers([model], words, 1.0).told(IDS, MASK, CHOSEN).log_probs.exp() for model in models]
    mean = Teachers(models, words, 1.0).told(IDS, MASK, CHOSEN).log_probs.exp()
    assert torch.allclose(mean, torch.stack(single).mean(dim=0), atol=1e-6)


def test_a_teacher_that_computes_no_numbers_is_not_learned_from(tiny: Tiny) -> None:
    """One published in half precision, in which its numbers are too large, says nothing; nor does a damaged one."""
    good, bad = tiny("qwen3"), tiny("qwen3", tie_word_embeddings=False)
    with torch.no_grad():
        bad.get_input_embeddings().weight[11] = torch.nan  # of the second row
    with pytest.raises(StageError, match=r"the teacher qwen3 computes NaN, .* too large for float32"):
        Teachers([good, bad], Words(48, None), 1.0).told(IDS, MASK, CHOSEN)
    assert Teachers([bad], Words(48, None), 1.0).told(IDS[:1], MASK[:1], CHOSEN[:1]).log_probs.isfinite().all()


@pytest.mark.parametrize("seed", range(3))
def test_the_likeliest_words_are_a_distribution_with_the_word_that_stands_there(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, others = (3 * torch.randn(6, 50, generator=generator) for _ in range(2))
    drawn = torch.randint(0, 40, (6,), generator=generator)
    whole, few = Words(40, None), Words(40, 5)
    log_probs = few.log_probs(logits, 1.0)
    told = few.told(log_probs, drawn)
    assert told.ids is not None
    assert told.log_probs.shape == (6, 6)
    assert torch.allclose(told.log_probs.exp().sum(dim=-1), torch.ones(6))
    assert (told.ids == drawn.unsqueeze(-1)).sum(dim=-1).tolist() == [1] * 6
    likeliest = log_probs.topk(4, dim=-1).indices
    assert all(set(some) <= set(all_) for some, all_ in zip(likeliest.tolist(), told.ids.tolist(), strict=True))
    # Words that are told as one hide what is different among them, and never make more of it.
    exact = reverse_kl(whole.seen(others, 1.0, None), log_probs.exp())
    coarse = reverse_kl(few.seen(others, 1.0, told.ids), told.log_probs.exp())
    assert (coarse <= exact + 1e-5).all()
    assert (coarse > 0).all()


def test_a_teacher_with_other_words_is_refused() -> None:
    texts = ["Tom has 3 apples. He buys 4 more.", "f(x): add 9, then multiply by 4."]
    one, same, other = (train_tokenizer(some, 96) for some in (texts, texts, texts[:1]))
    require_same_tokenizer(one, same, "r1")
    with pytest.raises(StageError, match=r"^r1 has another tokenizer than the student, .* method: cross_tokenizer"):
        require_same_tokenizer(one, other, "r1")
