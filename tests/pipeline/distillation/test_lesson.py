"""Learning teachers' distributions over traces: Hinton's loss of each token, by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from pipeline.data.rows import Collator
from pipeline.distillation.distributions import Distributions
from pipeline.distillation.lesson import Taught
from pipeline.distillation.teachers import Words
from pipeline.training.logprobs import token_logprobs
from tests.pipeline.distillation.test_distributions import ROWS, Kept

Tiny = Callable[..., Any]
ORDER = [9, 3, 4, 9]


@pytest.mark.parametrize("top_k", [None, 7])
def test_losses_are_hintons_by_hand(tiny: Tiny, tmp_path: Path, top_k: int | None) -> None:
    teacher, student, words = tiny("qwen3"), tiny("llama", vocab_size=60), Words.of(44, top_k)
    told = Kept(tmp_path, teacher, words).read()
    taught = Taught(told, ORDER, words, 1.5, 0.75, pad=0)
    batch = taught.collate([ROWS[number] for number in ORDER], range(4))
    assert torch.equal(batch["labels"], Collator(0)([ROWS[number] for number in ORDER])["labels"])
    losses = taught.losses(student, batch)
    for place, number in enumerate(ORDER):
        row = ROWS[number]
        learned = [at for at, weight in enumerate(row["weights"]) if weight and at]
        assert losses[place].nonzero().flatten().tolist() == [at - 1 for at in learned]
        logits = student(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        for at, teachers, ids in zip(learned, told.of(number).log_probs, _ids(told, number), strict=True):
            mine = torch.log_softmax(logits[at - 1, :44] / 1.5, dim=-1)
            if ids is not None:
                rest = torch.ones(44, dtype=torch.bool)
                rest[ids] = False
                mine = torch.cat([mine[ids], mine[rest].exp().sum().log().view(1)])
            soft = functional.kl_div(mine, teachers, reduction="sum", log_target=True)
            hard = functional.cross_entropy(logits[at - 1], torch.tensor(row["input_ids"][at]))
            assert losses[place, at - 1].item() == pytest.approx((0.75 * 1.5**2 * soft + 0.25 * hard).item(), rel=1e-4)


def _ids(told: Distributions, number: int) -> Any:
    found = told.of(number)
    return [None] * len(found.log_probs) if found.ids is None else found.ids


def test_without_a_part_for_the_teacher_they_are_those_of_the_tokens(tiny: Tiny, tmp_path: Path) -> None:
    student, words = tiny("qwen3"), Words(44, None)
    taught = Taught(Kept(tmp_path, tiny("llama"), words).read(), ORDER, words, 1.0, 0.0, pad=0)
    batch = taught.collate([ROWS[number] for number in ORDER], range(4))
    assert torch.allclose(taught.losses(student, batch), -token_logprobs(student, batch), atol=1e-6)
    [(name, divergence)] = taught.figures().items()
    assert name == "divergence"
    assert divergence > 0.01
    assert taught.figures() == taught.last == {name: divergence}  # nothing was learned since
