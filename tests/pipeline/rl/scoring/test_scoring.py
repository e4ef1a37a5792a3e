"""A round scored in parts is the round scored at once; processes whose forwards are collective read as many parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.rl.batch import Batch
from pipeline.rl.objectives.objective import Objective
from pipeline.rl.scoring.scoring import Scoring
from pipeline.training.learning import Learning
from tests.pipeline.rl.test_trainer import first, policy, trainer

Tiny = Callable[..., Any]


def round_of(tiny: Tiny, folder: Path, family: str, tokens: int | None, **plan: Any) -> Batch:
    learning = Learning(learning_rate=1e-3, micro_batch_tokens=tokens)
    made = trainer(policy(tiny, family), folder, learning=learning, objective=Objective(beta=0.1), **plan)
    return first(made)


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe", "deepseek_v3"])
@pytest.mark.parametrize("tokens", [1, 100, 400])
def test_in_parts_it_is_the_same(tiny: Tiny, tmp_path: Path, family: str, tokens: int) -> None:
    whole, parts = (round_of(tiny, tmp_path, family, most, replay="policy") for most in (None, tokens))
    assert torch.equal(whole.ids, parts.ids)
    for name, expected in whole.tensors().items():
        found = parts.tensors()[name]
        if name.endswith("_experts"):
            assert torch.equal(found, expected), name
        else:
            assert torch.allclose(found, expected, atol=1e-5), name


def batch(lengths: list[int]) -> Batch:
    mask = torch.tensor([[1] * n + [0] * (max(lengths) - n) for n in lengths])
    rows = torch.arange(len(lengths)).unsqueeze(1)
    return Batch(rows + 1, torch.ones_like(rows), mask * 7, mask, torch.zeros(len(lengths)), torch.zeros(mask.shape))


def test_parts_hold_so_many_tokens_and_no_padding_that_all_rows_have() -> None:
    seen: list[tuple[int, int]] = []

    def score(part: Batch) -> Tensor:
        seen.append((len(part), part.completion_ids.shape[1]))
        return part.completion_mask * part.prompt_ids.float()

    found = Scoring(12).logprobs(batch([3, 9, 1, 3]), score)
    assert seen == [(3, 3), (1, 9)]
    assert found.tolist() == [
        [1, 1, 1, 0, 0, 0, 0, 0, 0], [2] * 9, [3, 0, 0, 0, 0, 0, 0, 0, 0], [4, 4, 4, 0, 0, 0, 0, 0, 0]
    ]


def test_a_process_with_fewer_parts_reads_a_row_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.micro_batches.gather_object", lambda mine: [*mine, 3])  # another has three
    whole = batch([2, 2])
    parts = list(Scoring(100, collective=True).parts(whole))
    assert [(places.tolist(), len(part)) for places, part in parts] == [([0, 1], 2), ([], 1), ([], 1)]
    found = Scoring(100, collective=True).logprobs(whole, lambda part: part.completion_mask.float())
    assert found.tolist() == [[1, 1], [1, 1]]
