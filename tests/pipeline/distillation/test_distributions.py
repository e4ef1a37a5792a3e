"""Teachers' distributions on the disk: those that the teachers give, made once, and made again where they are torn."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.data.rows import Row
from pipeline.distillation.distributions import Distributions, Learned, Reading, distributions
from pipeline.distillation.teachers import Teachers, Told, Words

Tiny = Callable[..., Any]
ROWS: dict[int, Row] = {
    3: {"input_ids": [5, 6, 7, 8, 9], "weights": [0.0, 0.0, 1.0, 1.0, 1.0]},
    4: {"input_ids": [9, 9, 8], "weights": [1.0, 1.0, 1.0]},  # the first follows nothing
    9: {"input_ids": [4, 7, 7, 30, 31, 32, 6], "weights": [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0]},
}


class Kept:
    """Distributions of a teacher in a folder, and how often they were made."""

    def __init__(self, folder: Path, model: Any, words: Words) -> None:
        self.folder, self.model, self.words, self.times = folder, model, words, 0

    def read(self, **made_by: object) -> Distributions:
        return distributions(self.folder, Learned(ROWS), self.words, made_by, self._teachers, lambda _: None)

    def _teachers(self) -> Reading:
        self.times += 1
        return Reading(Teachers([self.model], self.words, 1.0), Learned(ROWS))


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


def test_the_disk_gives_all_its_room_before_teachers_are_asked(tiny: Tiny, tmp_path: Path) -> None:
    """What is written into a mapped file later, where there is no room, is a bus error in the middle of the pass."""
    words, lines = Words(44, 7), {number: ROWS[9] for number in range(2000)}

    class Looks(Reading):
        def told(self, numbers: Sequence[int]) -> Told:
            for file in tmp_path.glob("*.making/*.npy"):
                sizes.append((file.stat().st_blocks * 512, file.stat().st_size))
            return super().told(numbers)

    sizes: list[tuple[int, int]] = []
    teachers = Looks(Teachers([tiny("qwen3")], words, 1.0), Learned(lines))
    distributions(tmp_path, Learned(lines), words, {}, lambda: teachers, lambda _: None)
    assert sizes
    assert all(given >= size > 2**16 for given, size in sizes)
