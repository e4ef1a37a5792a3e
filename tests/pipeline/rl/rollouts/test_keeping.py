"""The summary of experts that is kept of a rollout."""

import torch

from pipeline.moe.replay import OWN
from pipeline.rl.rollouts.keeping import busiest


def test_the_busiest_expert_of_a_rollout() -> None:
    # Two rollouts of three tokens, one layer with four experts of which a token takes two.
    chosen = torch.tensor([[[[0, 1]], [[0, 2]], [[0, 3]]], [[[1, 2]], [[3, 0]], [[OWN, OWN]]]], dtype=torch.int16)
    # 3 of 6 choices fell on expert 0, where an even share is 1.5; then one on each.
    assert busiest(chosen, [4]).tolist() == [[2.0], [1.0]]
