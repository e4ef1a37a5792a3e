"""Which problems a round asks, by how often the policy solves each of them now.

A group whose answers are all right or all wrong has no advantage and no gradient. Online difficulty filtering (Bae et
al. 2025, arXiv 2504.03380) has it that a group teaches most where half of its answers are right, draws rollouts, and
keeps the groups whose pass rate lies between two bounds. prime-rl decides before it draws: its buffer moves problems
between pools of easy, normal and hard by their earlier rewards. This is its way, with a running pass rate of each
problem in the place of three pools, so that no rollout is drawn to be thrown away.

Left out is the filter of groups that were drawn, which is `dynamic_sampling`.
"""

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from pipeline.contract import processes
from pipeline.disk.durable import JsonObject
from rewards.lazy import lazy
from rewards.types import Label

if TYPE_CHECKING:
    from pipeline.rl.rollouts.reward_function import RewardFunction

with lazy:
    from accelerate.utils import gather_object

    from pipeline.rl.rollouts.drawing import Visit


class Difficulty(BaseModel):
    """How problems are chosen by their running pass rates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: float = Field(default=0.5, gt=0, lt=1, description="pass rate of the problems that are asked most often")
    memory: float = Field(
        default=0.5, ge=0, lt=1, description="what an earlier pass rate weighs when a problem is asked again"
    )
    floor: float = Field(
        default=0.1, gt=0, le=1, description="share that is drawn from all problems alike, so that none is forgotten"
    )

    def nearness(self, rate: float) -> float:
        """1 at the target, falling in a line to 0 at the end (0 or 1) that is further from it."""
        return 1 - abs(rate - self.target) / max(self.target, 1 - self.target)


@dataclass(frozen=True)
class Asked:
    """How a problem is put, and which set it is of."""

    prompt: str
    of: str


class Curriculum:
    """Draws the `prompts` problems of each of `rounds` rounds.

    A problem's pass rate is an exponential mean over its visits. One that was not asked yet is taken for the mean of
    those of its set that were, and where there are none for one at the target. A round's problems are all different;
    each is drawn with a chance of `floor` over their number and, for the rest, in proportion to how near its rate is to
    the target. A round depends on its number, the seed and what was seen before, so that a training that goes on from
    its state asks what it would have asked.
    """

    def __init__(
        self, difficulty: Difficulty, problems: Mapping[str, Asked], reward: "RewardFunction", prompts: int,
        rounds: int, seed: int,
    ) -> None:
        """`problems` by their ids; `reward` has graded a round when it is seen."""
        self.difficulty, self.problems, self.reward = difficulty, problems, reward
        self.prompts, self.rounds, self.seed = prompts, rounds, seed
        self.rates: dict[str, float] = {}
        self.visits: dict[str, int] = {}
        self._figures: dict[str, float] = {}

    def round(self, number: int) -> "list[Visit]":
        """What a round asks, counted from 0; nothing after the last."""
        if number >= self.rounds:
            return []
        rng = random.Random(f"curriculum:{self.seed}:{number}")
        # Drawing one after the other in proportion to weights is taking the largest of these (Efraimidis and Spirakis
        # 2006, "Weighted random sampling with a reservoir").
        keys = {problem: math.log(1 - rng.random()) / weight for problem, weight in self.weights().items()}
        chosen = sorted(keys, key=lambda problem: -keys[problem])[: self.prompts]
        return [Visit(self.problems[one].prompt, one, self.visits.get(one, 0)) for one in chosen]

    def weights(self) -> dict[str, float]:
        """The chance of each problem to be drawn first."""
        rates, floor = self.expected(), self.difficulty.floor
        near = {problem: self.difficulty.nearness(rate) for problem, rate in rates.items()}
        total = sum(near.values())
        if not total:  # all are as far away as can be
            return dict.fromkeys(near, 1 / len(near))
        return {problem: floor / len(near) + (1 - floor) * one / total for problem, one in near.items()}

    def expected(self) -> dict[str, float]:
        """The pass rate of each problem, of those that were not asked what it is taken for."""
        of_sets: dict[str, list[float]] = defaultdict(list)
        for problem, rate in self.rates.items():
            of_sets[self.problems[problem].of].append(rate)
        means = {name: math.fsum(rates) / len(rates) for name, rates in of_sets.items()}
        return {problem: self.rates.get(problem, means.get(asked.of, self.difficulty.target))
                for problem, asked in self.problems.items()}

    def see(self, asked: "Sequence[Visit]") -> None:
        """Take the verdicts on a round's rollouts, of which `asked` are this process's. All processes call it
        together, and so have the same rates."""
        told = [(visit.problem, graded.verdict.label) for visit, graded in zip(asked, self.reward.told, strict=True)]
        groups: dict[str, list[bool]] = {}
        for problem, label in gather_object(told) if processes.count() > 1 else told:
            passed = groups.setdefault(problem, [])
            if label != Label.UNGRADABLE:  # which says nothing about the answer
                passed.append(label == Label.CORRECT)
        before = self.expected()
        found = {problem: sum(passed) / len(passed) for problem, passed in groups.items() if passed}
        self._figures = {
            "curriculum/expected": _mean([before[problem] for problem in groups]),
            "curriculum/passed": _mean([*found.values()]),
            "curriculum/new": _mean([problem not in self.visits for problem in groups]),
        }
        memory = self.difficulty.memory
        for problem in groups:
            self.visits[problem] = self.visits.get(problem, 0) + 1
        for problem, rate in found.items():
            known = self.rates.get(problem)
            self.rates[problem] = rate if known is None else memory * known + (1 - memory) * rate

    def figures(self) -> dict[str, float]:
        """For metrics.jsonl, of the last round: the pass rate that its problems were taken for and the one that they
        had, and the share of those that were asked for the first time; and of all problems the share that was asked."""
        return {**self._figures, "curriculum/asked": len(self.visits) / len(self.problems)}

    def state(self) -> JsonObject:
        return {"rates": dict(self.rates), "visits": dict(self.visits)}

    def restore(self, state: JsonObject) -> None:
        self.rates, self.visits = dict(state["rates"]), dict(state["visits"])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
