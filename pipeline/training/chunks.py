"""Splitting a batch into chunks of similar length, so that little of it is padding."""

from collections.abc import Sequence

TOKENS = 256
"""What a further chunk costs besides its tokens, in tokens: forward and backward of few rows spend it in Python and
small kernels. Measured on two cores with models of 1M to 10M parameters."""


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
