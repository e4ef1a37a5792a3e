"""What two vocabularies have in common, and divergences over it, by hand."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models

from pipeline.distillation.alignment import Reader
from pipeline.distillation.shared_words import Seen, SharedWords
from tests.pipeline.distillation.tokenizers_apart import SPECIALS, byte_level, fast, sentencepiece


def words_of(*words: str) -> Reader:
    """A tokenizer with these words, whose ids begin at 6."""
    vocabulary = {word: place for place, word in enumerate([*SPECIALS, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.add_special_tokens(SPECIALS)
    made = fast(tokenizer)
    return Reader(made, made.eos_token_id)


def logits_of(known: int, **probabilities: float) -> torch.Tensor:
    """Of one token: word 6 has the first probability, and so on; the specials have as good as none."""
    return torch.tensor([[1e-12] * (known - len(probabilities)) + list(probabilities.values())]).log()


def test_words_are_the_same_by_their_text() -> None:
    one, other = byte_level(420), sentencepiece(330)
    words = SharedWords.of(
        Reader(one, one.eos_token_id), len(one), Reader(other, other.convert_tokens_to_ids("<assistant>")), len(other),
        None
    )
    pairs = list(zip(words.mine.shared.tolist(), words.theirs.shared.tolist(), strict=True))
    texts = [(one.convert_ids_to_tokens(mine), other.convert_ids_to_tokens(theirs)) for mine, theirs in pairs]
    assert ("Ġapples", "▁apples") in texts
    assert ("Ã", "<0xC3>") in texts  # a byte of a character
    assert ("<pad>", "<pad>") in texts
    assert ("<eos>", "<assistant>") in texts  # which ends a turn of each
    assert len({mine for mine, _ in pairs}) == len({theirs for _, theirs in pairs}) == len(pairs)
    for mine, theirs in texts:
        if mine not in SPECIALS:
            assert len(mine.replace("Ġ", " ")) == len(theirs.replace("▁", " ")) or theirs.startswith("<0x")


def test_divergence_by_hand() -> None:
    """A student that writes "Hel" and "lo" beside a teacher that writes "Hello"; both know "Ho"."""
    mine, theirs = words_of("Hel", "lo", "Ho", "hm"), words_of("Hello", "Ho", "Hi", "Hey")
    words = SharedWords.of(mine, 10, theirs, 10, None)
    ho = words.mine.shared.tolist().index(8)
    assert words.theirs.shared[ho] == 7
    nobody = torch.full((1, 2), -1)
    teacher = logits_of(10, hello=0.5, ho=0.2, hi=0.2, hey=0.1)
    seen = words.see(words.theirs, words.theirs.log_probs(teacher, 1.0), torch.tensor([6]), nobody, None)
    told = words.told(seen, torch.tensor([0]), torch.tensor([1]))
    assert told.ids is None
    assert told.log_probs.exp().sum().item() == pytest.approx(1, abs=1e-6)
    student = torch.cat([
        logits_of(10, hel=0.6, lo=0.0, ho=0.1, hm=0.3), logits_of(10, hel=0.0, lo=0.8, ho=0.2, hm=0.0)
    ])
    seen = words.see(
        words.mine, words.mine.log_probs(student, 1.0), torch.tensor([6, 7]), torch.full((2, 2), -1), None
    )
    found = words.divergence(seen, torch.tensor([0]), torch.tensor([2]), told.log_probs)
    # "Hello" 0.5 and 0.6 * 0.8, "Ho" 0.2 and 0.1, others 0.3 and 0.3 + 0.6 * 0.2; of these 0.2, 0.1 beside 0.3, 0.
    divergence = 0.5 * math.log(0.5 / 0.48) + 0.2 * math.log(0.2 / 0.1) + 0.3 * math.log(0.3 / 0.42)
    assert found.item() == pytest.approx(divergence + 0.1 + 0.1, abs=1e-4)


def test_a_first_token_is_no_word_where_it_is_the_beginning_of_more() -> None:
    """Both know "He", with which the student's text begins, and which to the teacher is another text."""
    mine, theirs = words_of("He", "llo", "Ho"), words_of("Hello", "He", "Ho")
    words = SharedWords.of(mine, 9, theirs, 9, None)
    shared = words.mine.shared.tolist()
    apart = torch.tensor([[shared.index(6), -1]])
    teacher = logits_of(9, hello=0.5, he=0.4, ho=0.1)
    seen = words.see(words.theirs, words.theirs.log_probs(teacher, 1.0), torch.tensor([6]), apart, None)
    told = words.told(seen, torch.tensor([0]), torch.tensor([1])).log_probs.exp()[0]
    assert told[0].item() == pytest.approx(0.5)
    assert told[1 + shared.index(6)].item() < 1e-6
    assert told[1 + shared.index(8)].item() == pytest.approx(0.1)
    assert told[-1].item() == pytest.approx(0.4, abs=1e-5)


@pytest.mark.parametrize("top_k", [None, 4])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_never_negative_none_where_both_agree_and_has_a_gradient(seed: int, top_k: int | None) -> None:
    one = byte_level(300)
    reader = Reader(one, one.eos_token_id)
    words = SharedWords.of(reader, len(one), reader, len(one), top_k)
    generator = torch.Generator().manual_seed(seed)
    logits, others = (4 * torch.randn(6, len(one), generator=generator) for _ in range(2))
    drawn = torch.randint(6, len(one), (6,), generator=generator)
    starts, lengths = torch.tensor([0, 1, 4]), torch.tensor([1, 3, 2])
    places = {id_: place for place, id_ in enumerate(words.mine.shared.tolist())}
    apart = torch.tensor([[places[id_], places[id_]] for id_ in drawn.tolist()])

    def see(half: Any, of: torch.Tensor, at: torch.Tensor | None) -> Seen:
        return words.see(half, half.log_probs(of, 1.0), drawn, apart, at)

    told = words.told(see(words.theirs, logits, None), starts, lengths)
    at = None if told.ids is None else torch.zeros(6, 4, dtype=torch.long).index_copy(0, starts, told.ids)
    assert torch.allclose(told.log_probs.exp().sum(dim=-1), torch.ones(3), atol=1e-5)
    same = words.divergence(see(words.mine, logits, at), starts, lengths, told.log_probs)
    assert torch.allclose(same, torch.zeros(3), atol=1e-4)
    others.requires_grad_()
    apart_from_it = words.divergence(see(words.mine, others, at), starts, lengths, told.log_probs)
    assert (apart_from_it > 0.1).all()
    apart_from_it.sum().backward()
    assert others.grad is not None
    assert others.grad.isfinite().all()
    assert others.grad[2].abs().sum() > 0  # of a span's later token


def test_a_token_that_is_as_good_as_certain_keeps_gradients_finite() -> None:
    mine, theirs = words_of("Hel", "lo", "Ho"), words_of("Hello", "Ho", "Hi")
    words = SharedWords.of(mine, 9, theirs, 9, None)
    student = torch.tensor([_sure(9, 6), _sure(9, 7)], requires_grad=True)
    seen = words.see(words.mine, words.mine.log_probs(student, 1.0), torch.tensor([6, 7]), torch.full((2, 2), -1), None)
    teacher = words.theirs.log_probs(logits_of(9, hello=0.2, ho=0.4, hi=0.4), 1.0)
    told = words.told(words.see(words.theirs, teacher, torch.tensor([6]), torch.full((1, 2), -1), None),
                      torch.tensor([0]), torch.tensor([1]))
    words.divergence(seen, torch.tensor([0]), torch.tensor([2]), told.log_probs).sum().backward()
    assert student.grad is not None
    assert student.grad.abs().max() <= 2


def _sure(known: int, word: int) -> Sequence[float]:
    return [60.0 if place == word else 0.0 for place in range(known)]
