"""How much of a draft stands, and counting it.

A token of a rollout is drawn by inverse CDF with a uniform number of its own (`eval/engine/sampling.py`). So a draft is
verified by drawing, at every place that was read, the token that would have been drawn there anyway, and it stands as
long as it is that token. The rollout is the one that would have been written without drafts, token by token and but for
rounding, and so is its distribution; a rollout depends on its seed alone, as before.

Left out is rejection sampling (Leviathan et al. 2022, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318). It accepts
a drafted token with probability min(1, p / q) and else draws from what is left of p, which has the same distribution
and accepts the most that any way can, 1 - TV(p, q). But what it writes depends on the draft: another drafter, another
length of drafts or another batch would write another rollout, and a resumed run would not be the one that was stopped.
A drafter with probabilities (`mtp.py`) draws its tokens by the very number that they are verified with, and so comes
close to that bound; benchmarks/speculation/README.md has how close.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


def standing(drawn: Sequence[int], drafts: Sequence[int]) -> int:
    """How many of the drawn tokens stand: one more than the drafts that are the tokens drawn in their places."""
    for place, draft in enumerate(drafts):
        if drawn[place] != draft:
            return place + 1
    return len(drafts) + 1


@dataclass
class Tally:
    """Counts of a call or of several: `read` forwards of a row, of drafts at each depth (from 1) how many were verified
    (all before them stood) and how many stood."""

    read: int = 0
    written: int = 0
    verified: Counter[int] = field(default_factory=Counter)
    stood: Counter[int] = field(default_factory=Counter)

    def see(self, drafts: int, stood: int, written: int) -> None:
        """A row had so many drafts, of which so many stood, and so many tokens were written: fewer than stood and one
        more where one of them ended the rollout."""
        self.read += 1
        self.written += written
        for depth in range(1, min(drafts, written) + 1):
            self.verified[depth] += 1
            self.stood[depth] += depth <= stood

    def acceptance(self) -> dict[int, float]:
        """By depth the share of the verified drafts that stood."""
        return {depth: self.stood[depth] / count for depth, count in sorted(self.verified.items())}
