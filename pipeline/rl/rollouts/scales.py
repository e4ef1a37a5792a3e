"""The scales of rules that are not built in, as they are seen: between which values, and whether one outweighs the rest
of the reward."""

from collections.abc import Mapping, Sequence

from pipeline.disk.durable import JsonObject
from rewards.rubric import Rubric

OUTWEIGHS = 2.0
"""Times by which a rule moves the reward more than all else together, for a line about it."""


class Scales:
    """The least and the most value of each rule of the user's own, since the training began."""

    def __init__(self, rubric: Rubric) -> None:
        self.rubric = rubric
        self._weights = rubric.weights(built_in=False)
        self._seen: dict[str, list[float]] = {}
        self._told: list[str] = []

    def state(self) -> JsonObject:
        return {"seen": self._seen, "told": self._told}

    def restore(self, state: JsonObject) -> None:
        self._seen, self._told = state["seen"], state["told"]

    def see(self, values: Mapping[str, Sequence[float]]) -> None:
        """A round's values of every part of the reward."""
        for name, found in values.items():
            if found:
                least, most = self._seen.get(name, [found[0], found[0]])
                self._seen[name] = [min(least, *found), max(most, *found)]

    def figures(self) -> dict[str, float]:
        """For metrics.jsonl: the least and the most value of each of these rules so far."""
        return {
            f"reward/{name}/{which}": value
            for name in self._weights if name in self._seen
            for which, value in zip(("least", "most"), self._seen[name], strict=True)
        }

    def notes(self) -> list[str]:
        """Lines that were not told yet: the scales once each has been seen at two values, and each rule that outweighs
        the rest."""
        lines = []
        apart = [name for name in self._weights if name in self._seen and self._seen[name][0] < self._seen[name][1]]
        if self._weights and "" not in self._told and len(apart) == len(self._weights):
            self._told.append("")
            seen = [
                f"{name} {self._seen[name][0]:g} to {self._seen[name][1]:g} (weight {weight:g})"
                for name, weight in self._weights.items()
            ]
            lines.append(f"rewards seen so far: {', '.join(seen)}; a correct verdict is worth "
                         f"{self.rubric.correct:g}")
        moves = self._moves()
        for name in self._weights:
            others = sum(move for other, move in moves.items() if other != name)
            if name not in self._told and 0 < OUTWEIGHS * others <= moves.get(name, 0.0):
                self._told.append(name)
                least, most = self._seen[name]
                lines.append(
                    f"{name} outweighs the rest of the reward: from {least:g} to {most:g} it moves the total by "
                    f"{moves[name]:g}, all else by {others:g}; a weight of {self._fair(name, others):.2g} would make "
                    "them equal"
                )
        return lines

    def _moves(self) -> dict[str, float]:
        """By how much each term can move the total: a verdict by its credit, the others by what was seen of them."""
        return {
            "correct": self.rubric.correct,
            **{name: abs(weight) * (self._seen[name][1] - self._seen[name][0])
               for name, weight in self.rubric.weights().items() if name in self._seen},
        }

    def _fair(self, name: str, others: float) -> float:
        least, most = self._seen[name]
        return others / (most - least)
