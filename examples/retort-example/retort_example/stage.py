"""The stage `worked_examples`: problems of `sorting` with their solutions, as rows to learn from."""

import json
from typing import Annotated, ClassVar

from pydantic import Field

from eval.problems import load
from pipeline.stage import ArtifactType, Asks, Context, Metrics, PlugIn, Stage
from rewards.types import Problem


class WorkedExamples(Stage):
    """Writes a row for each problem: the question, and an answer that thinks before it is given."""

    kind: ClassVar[str] = "worked_examples"
    makes: ClassVar[ArtifactType] = "dataset"
    preload: ClassVar[tuple[str, ...]] = ()  # nothing that takes long to import

    # The mark says that this names a problem set: it is looked up when the recipe is read, and its source counts.
    problems: Annotated[str, PlugIn("problem set")] = "sorting:train"
    problems_each: int = Field(default=256, ge=1, description="rows to write")

    def asks(self, seed: int) -> list[Asks]:
        """Which problems are learned from, so that `retort plan` finds a test problem among them."""
        return [Asks(self.problems, self.problems_each, seed, "train")]

    def run(self, ctx: Context) -> Metrics:
        problems = load(self.problems, self.problems_each, ctx.seed, base=self._folder)
        with (ctx.out / "data.jsonl").open("w", encoding="utf-8") as file:
            for problem in problems:
                file.write(json.dumps({"prompt": problem.prompt, "completion": solution(problem)}) + "\n")
        return {"rows": len(problems)}


def solution(problem: Problem) -> str:
    """What a model is to write: the numbers in order, as a thought and as an answer."""
    numbers = ", ".join(map(str, problem.answer))
    return f"<think>{numbers}.</think><answer>{numbers}</answer>"
