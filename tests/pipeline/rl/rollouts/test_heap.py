"""What was freed is given back, of models for which that is worth the time."""

import platform
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.rl.rollouts import heap

MIB = 2**20


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another heap")
def test_pages_between_what_is_still_held_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(4, 4)
    pieces = [torch.zeros(2**14) for _ in range(2000)]  # 125 MiB, each too small for a mapping of its own
    kept = pieces[::100]
    pieces.clear()
    before = resident()
    heap.give_back(model)
    assert before - resident() < 10 * MIB, "a small model is not worth it"
    monkeypatch.setattr(heap, "LARGE", 1)
    heap.give_back(model)
    assert before - resident() > 60 * MIB
    assert all(int(one.sum()) == 0 for one in kept)
