"""Teachers' distributions on the disk: those that the teachers give, made once, and made again where they are torn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from pipeline.data.rows import Collator, Row
from pipeline.distillation.distributions import Distributions, Learned, distributions
from pipeline.distillation.lesson import Taught
from pipeline.distillation.teachers import Teachers, Words
from pipeline.training.logprobs import token_logprobs

Tiny = Callable[..., Any]
ROWS: dict[int, Row] = {
    3: {"input_ids": [5, 6, 7, 8, 9], "weights": [0.0, 0.0, 1.0, 1.0, 1.0]},
    4: {"input_ids": [9, 9, 8], "weights": [1.0, 1.0, 1.0]},  # the first follows nothing
    9: {"input_ids": [4, 7, 7, 30, 31, 32, 6], "weights": [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0]},
}
ORDER = [9, 3, 4, 9]


class Kept:
    """Distributions of a teacher in a folder, and how often they were made."""

    def __init__(self, folder: Path, model: Any, words: Words) -> None:
        self.folder, self.model, self.words, self.times = folder, model, words, 0

    def read(self, **made_by: object) -> Distributions:
        return distributions(self.folder, Learned(ROWS), self.words, made_by, self._teachers, lambda _: None)

    def _teachers(self) -> Teachers:
        self.times += 1
        return Teachers([self.model], self.words, 1.0)


@pytest.mark.parametrize("top_k", [None, 7])
def test_they_are_what_the_teacher_says_of_each_row(tiny: Tiny, tmp_path: Path, top_k: int | None) -> None:
    model, words = tiny("qwen3"), Words.of(44, top_k)
    told = Kept(tmp_path, model, words).read()
    for number, row in ROWS.items():
        ids = torch.tensor([row["input_ids"]])
        learned = torch.tensor(row["weights"][1:]) > 0
        alone = words.told(words.log_probs(model(input_ids=ids).logits[0, :-1], 1.0), ids[0, 1:])
        found = told.of(number)
        assert torch.allclose(found.log_probs.exp(), alone.log_probs[learned].exp(), atol=2e-3)
        assert torch.allclose(found.log_probs.exp().sum(dim=-1), torch.ones(int(learned.sum())))
        if top_k:
            assert found.ids is not None
            assert alone.ids is not None
            assert torch.equal(found.ids, alone.ids[learned])


def test_they_are_made_once_for_what_they_depend_on_and_again_where_they_are_torn(tiny: Tiny, tmp_path: Path) -> None:
    kept = Kept(tmp_path, tiny("qwen3"), Words(44, None))
    expected = kept.read(teachers=["a"]).of(9).log_probs
    kept.read(teachers=["a"])
    assert kept.times == 1
    kept.read(teachers=["b"])
    assert kept.times == 2
    for file in tmp_path.glob("*/log_probs.npy"):
        file.write_bytes(file.read_bytes()[:-8] + b"\0" * 8)
    assert torch.equal(kept.read(teachers=["a"]).of(9).log_probs, expected)
    assert kept.times == 3


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
