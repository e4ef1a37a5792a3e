"""Dynamic sampling: groups that teach nothing give way to others (DAPO, arXiv 2503.14476, section 3.2)."""

from collections.abc import Callable, Sequence

from accelerate.utils import gather_object

from eval.engine.types import Sampled
from pipeline.rl.objectives.advantages import Scale, rewards_of, without_signal
from pipeline.rl.rollouts.drawing import Visit

Draw = Callable[[Sequence[Visit]], list[Sampled]]
Rewards = Callable[[Sequence[Visit], Sequence[Sampled]], list[float | None]]


class DynamicSampling:
    """Puts groups of further problems in the place of those that teach nothing by the `scale` of their advantages:
    where all rewards are the same they have no advantage and no gradient.

    DAPO goes on until the batch is full, however long that takes; here at most `rounds` times a step. What is without
    signal then stays, and takes no part in the loss. `reserve` has a row for each further group, used once and in their
    order; where it ends, nothing is replaced any more. A step is of whole groups of `size` rows.
    """

    def __init__(self, rounds: int, reserve: Sequence[Visit], size: int, scale: Scale) -> None:
        self.rounds, self.reserve, self.size, self.scale = rounds, reserve, size, scale
        self.used = self.drawn = self.without = 0

    def fill(self, rows: Sequence[Visit], draw: Draw, rewards: Rewards) -> tuple[list[Visit], list[Sampled]]:
        """The visits of a step, `size` of each problem, and a rollout of each, after groups were replaced. `draw` makes
        a rollout of every visit, `rewards` says what they are worth, None where nobody can tell."""
        found, sampled = list(rows), draw(rows)
        dull = self._without_signal(rewards(found, sampled))
        self.drawn, self.without = len(rows) // self.size, len(dull)
        for _ in range(self.rounds):
            # As many as are needed, in the order of the reserve: what is drawn does not depend on the round it
            # happens in.
            fresh = self.reserve[self.used : self.used + len(dull)]
            if not fresh:
                break
            self.used += len(fresh)
            others = [row for row in fresh for _ in range(self.size)]
            drawn = draw(others)
            still = self._without_signal(rewards(others, drawn))
            for number, group in enumerate(dull[: len(fresh)]):
                to, of = self._places(group), self._places(number)
                found[to], sampled[to] = others[of], drawn[of]
            # Those that stayed dull and those for which the reserve had nothing left.
            dull = [dull[number] for number in still] + dull[len(fresh) :]
            self.drawn, self.without = self.drawn + len(fresh), self.without + len(still)
        return found, sampled

    def figures(self) -> dict[str, float]:
        """For metrics.jsonl: groups drawn in this step, and how many of them were without signal. Of all processes,
        which call it together."""
        drawn, without = zip(*gather_object([(self.drawn, self.without)]), strict=True)
        return {"dynamic/groups_drawn": sum(drawn), "dynamic/groups_without_signal": sum(without)}

    def state(self) -> dict[str, int]:
        return {"used": self.used, "drawn": self.drawn, "without": self.without}

    def restore(self, state: dict[str, int]) -> None:
        self.used, self.drawn, self.without = state["used"], state["drawn"], state["without"]

    def _places(self, group: int) -> slice:
        return slice(group * self.size, (group + 1) * self.size)

    def _without_signal(self, totals: Sequence[float | None]) -> list[int]:
        """Which groups, by their place, teach nothing."""
        groups = rewards_of(totals).view(-1, self.size)
        return [number for number, dull in enumerate(without_signal(groups, self.scale).tolist()) if dull]
