"""Splitting a batch into chunks of similar length, so that little of it is padding."""

from collections.abc import Sequence

from torch import nn

TOKENS = 256
"""What a further chunk costs besides its tokens, in tokens: forward and backward of few rows spend it in Python and
small kernels. Measured on two cores with models of 1M to 10M parameters."""

SMALL = 10**7  # parameters up to which that holds
LEAST = 16
"""What is left of it in large models, whose tokens cost more: gradients that are added up once more."""


def overhead_of(model: nn.Module) -> int:
    """What a further chunk of this model costs, in tokens."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return max(LEAST, min(TOKENS, TOKENS * SMALL // parameters))


def chunks(lengths: Sequence[int], overhead: int = TOKENS) -> list[list[int]]:
    """Places of `lengths` in chunks, shortest first, that cost least: a chunk costs its rows times its longest, plus
    `overhead`.

    Depends on the lengths alone. The best split of sorted lengths, by dynamic programming over where a chunk ends.
    """
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    cost, begins = [0.0], [0]
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        # The cheapest split of the shortest `end` rows: the best split of fewer, and one more chunk.
        best, begin = min((cost[begin] + (end - begin) * longest + overhead, begin) for begin in range(end))
        cost.append(best)
        begins.append(begin)
    found, end = [], len(order)
    while end:
        found.append(order[begins[end] : end])
        end = begins[end]
    return found[::-1]
