"""Dealing rollouts to updates."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rl.batch import Batch, dealt


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
