"""Dealing rollouts to updates."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.moe.replay import OWN
from pipeline.rl.batch import Batch, dealt, joined


def batch(numbers: list[int]) -> Batch:
    """Rollouts whose completion is their number."""
    ids = torch.tensor(numbers).reshape(-1, 1)
    return Batch(ids, torch.ones_like(ids), ids, torch.ones_like(ids), torch.zeros(len(ids)), torch.zeros(len(ids), 1))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.randoms(use_true_random=False))
def test_an_update_has_the_same_rollouts_on_any_number_of_processes(processes, updates, each, draw):
    everyones = processes * updates * each
    order = torch.tensor(draw.sample(range(everyones), everyones))
    alone = dealt(batch(list(range(everyones))), order, updates)
    share = everyones // processes
    parts = [dealt(batch(list(range(first, first + share))), order, updates, first)
             for first in range(0, everyones, share)]
    for update, whole in enumerate(alone):
        assert len(whole) == everyones // updates
        found = [int(one) for part in parts for one in part[update].completion_ids.flatten()]
        assert sorted(found) == sorted(whole.completion_ids.flatten().tolist())


def test_rows_of_several_processes_are_padded_to_the_longest():
    def one(rows, prompt, seq):
        prompts, completions = torch.ones(rows, prompt, dtype=torch.long), torch.ones(rows, seq, dtype=torch.long)
        experts = torch.zeros(rows, prompt, 2, 1, dtype=torch.int16), torch.zeros(rows, seq, 2, 1, dtype=torch.int16)
        return Batch(prompts * 5, prompts, completions * 6, completions, torch.arange(rows).float(),
                     -torch.ones(rows, seq), prompt_experts=experts[0], completion_experts=experts[1])

    whole = joined([one(2, 3, 1), one(0, 1, 4), one(1, 2, 5)])
    assert whole.prompt_ids.tolist() == [[5, 5, 5], [5, 5, 5], [0, 5, 5]]
    assert whole.completion_ids.tolist() == [[6, 0, 0, 0, 0], [6, 0, 0, 0, 0], [6, 6, 6, 6, 6]]
    assert whole.mask.sum(dim=1).tolist() == [4, 4, 7]
    assert whole.advantages.tolist() == [0, 1, 0]
    assert whole.experts is not None
    assert whole.experts[0, :, 0, 0].tolist() == [0, 0, 0, 0, OWN, OWN, OWN, OWN]
    assert whole.experts[2, :, 0, 0].tolist() == [OWN, *[0] * 7]
    assert whole.reference is None
