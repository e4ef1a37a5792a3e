"""Gradients of several processes that each hold the whole model: averaged once, before the optimizer's step.

torch's DistributedDataParallel averages in the backward, for which every process has to run as many forwards, through
the same parameters. Here each has a number of its own: chunks by length, micro-batches by tokens, rows without a
gradient left out, experts that no token took. So each runs its forwards and backwards as if it were alone, on the model
without the wrapper, and what they found is added up at the end. What that gives up: gradients do not travel while
others are still computed.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

NUMBERS = 2**24
"""Gradients are sent so many numbers at a time, in fp32: 64 MiB."""


@torch.no_grad()
def average(parameters: Iterable[nn.Parameter]) -> None:
    """Every process's `grad` of each parameter becomes the mean over the processes, where one that has none counts as
    zero; a parameter without a gradient on all of them stays without one. Nothing happens in a single process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    for some in _portions([parameter for parameter, has in zip(trained, _anyones(trained), strict=True) if has]):
        sent = torch.cat([_gradient(parameter).float().flatten() for parameter in some])
        torch.distributed.all_reduce(sent)
        sent /= torch.distributed.get_world_size()
        begin = 0
        for parameter in some:
            mean = sent[begin : begin + parameter.numel()].view_as(parameter)
            parameter.grad = mean.to(parameter.dtype, copy=True)
            begin += parameter.numel()


def _anyones(parameters: Sequence[nn.Parameter]) -> list[bool]:
    """Whether any process has a gradient, for each of the parameters."""
    votes = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32,
                         device=parameters[0].device)
    torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


def _portions(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    portion: list[nn.Parameter] = []
    for parameter in parameters:
        if portion and sum(one.numel() for one in portion) + parameter.numel() > NUMBERS:
            yield portion
            portion = []
        portion.append(parameter)
    if portion:
        yield portion


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
