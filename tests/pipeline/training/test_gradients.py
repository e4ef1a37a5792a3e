"""Gradients of several processes, averaged: with gloo, in threads of processes that torch starts."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.training import gradients


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    made = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(2)),
            nn.Parameter(torch.randn(2), requires_grad=False), nn.Parameter(torch.randn(5).bfloat16())]
    made[1].grad = None
    return made


def work(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    made = parameters()
    made[0].grad = torch.full((3, 2), float(rank))  # on both
    if rank == 1:
        made[2].grad = torch.full((2,), 3.0)  # on one of them
    made[4].grad = torch.full((5,), 1.0 + rank).bfloat16()
    gradients.NUMBERS = 6  # a portion for the first, and one for what follows
    gradients.average(made)
    torch.save([parameter.grad for parameter in made], f"{folder}/{rank}.pt")
    torch.distributed.barrier()  # a process that ends while another still hears from it aborts inside of gloo
    torch.distributed.destroy_process_group()


def test_the_mean_over_processes_where_any_has_a_gradient(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    for rank in (0, 1):
        both, none, one, frozen, half = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(both, torch.full((3, 2), 0.5))
        assert none is None
        assert torch.equal(one, torch.full((2,), 1.5))
        assert frozen is None
        assert torch.equal(half, torch.full((5,), 1.5).bfloat16())


def test_a_single_process_keeps_its_own() -> None:
    made = parameters()
    made[0].grad = torch.ones(3, 2)
    gradients.average(made)
    assert torch.equal(made[0].grad, torch.ones(3, 2))
    assert made[1].grad is None


@pytest.mark.parametrize("most", [1, 6, 7, 100])
def test_portions_hold_every_parameter_once(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "NUMBERS", most)
    made = parameters()
    portions = list(gradients._portions(made))
    assert [id(one) for portion in portions for one in portion] == [id(one) for one in made]
    assert all(len(portion) == 1 or sum(one.numel() for one in portion) <= most for portion in portions)
