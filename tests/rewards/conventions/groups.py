"""Reward functions in a file beside a recipe, and groups of completions for them."""

from collections.abc import Mapping
from pathlib import Path

from rewards.conventions.scoring import Ask
from rewards.rubric import Reward, Rubric
from rewards.types import Completion, Label, Problem, Verdict


def rubric_of(folder: Path, source: str, reference: str, **options: object) -> Rubric:
    """A rubric that counts this function of `mine.py` alone."""
    (folder / "mine.py").write_text(source)
    return Rubric.model_validate(
        {"correct": 0, "rules": {reference: {"weight": 1.0, **options}}}, context={"base": folder}
    )


def problem(answer: object = "5", meta: Mapping[str, object] | None = None) -> Problem:
    return Problem("p1", "How many are left?", answer, "math", "words", meta=meta or {})


def written(*texts: str) -> list[Completion]:
    return [Completion(text, tokens=len(text), ids=tuple(range(len(text)))) for text in texts]


def rewards(rubric: Rubric, asked: Problem, completions: list[Completion], step: int = 0) -> list[Reward]:
    """The rewards of a group, as a training asks for them."""
    verdicts = [Verdict(Label.WRONG)] * len(completions)
    alone = [rubric.alone(asked, one, verdict) for one, verdict in zip(completions, verdicts, strict=True)]
    return rubric.together(Ask(asked, completions, step), verdicts, alone)


def totals(rubric: Rubric, asked: Problem, completions: list[Completion]) -> list[float | None]:
    return [reward.total for reward in rewards(rubric, asked, completions)]
