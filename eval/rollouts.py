"""Rollouts: problems asked n times, sampled, graded. Evaluation counts them, rejection sampling filters them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.engine.types import Engine, Request, Sampling, rollout_seed
from eval.prompts import THINK, decode_completion, encode_prompt
from rewards.grade import grade_many
from rewards.rules import format as format_rule
from rewards.rules import readable
from rewards.types import Completion, Problem, Verdict


@dataclass(frozen=True, slots=True)
class Rollout:
    """A problem, one completion of it, and the verdict. `index` counts the completions of a problem."""

    problem: Problem
    index: int
    completion: Completion
    verdict: Verdict

    def row(self) -> dict[str, Any]:
        """The rollout as a JSON object, with what the report counts: format and readability."""
        return {
            "problem": self.problem.id,
            "family": self.problem.family,
            "meta": dict(self.problem.meta),
            "index": self.index,
            "text": self.completion.text,
            "finished": self.completion.finished,
            "tokens": self.completion.tokens,
            "verdict": str(self.verdict.label),
            "extracted": self.verdict.extracted,
            "reason": self.verdict.reason,
            "format": format_rule(self.problem, self.completion) == 1.0,
            "readable": readable(self.problem, self.completion),
        }


def collect(
    engine: Engine,
    tokenizer: Any,
    problems: Sequence[Problem],
    sampling: Sampling,
    *,
    n: int,
    seed_parts: Iterable[str | int],
    open_thinking: bool = False,
    context: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Rollout]:
    """`n` graded rollouts of every problem, in order.

    The draws of a rollout come from (`seed_parts`, problem, index) alone. Prompts that leave no room in `context`
    tokens are answered with an unfinished empty completion, which counts as truncated.
    """
    parts = tuple(seed_parts)
    prompts = [encode_prompt(tokenizer, problem, open_thinking=open_thinking) for problem in problems]
    fits = [context is None or len(prompt) < context for prompt in prompts]
    requests = [
        Request(prompt, [rollout_seed(*parts, problem.id, i) for i in range(n)])
        for prompt, problem, fit in zip(prompts, problems, fits, strict=True)
        if fit
    ]
    sampled = iter(engine.sample(requests, sampling, progress))
    pairs: list[tuple[Problem, int, Completion]] = []
    for problem, fit in zip(problems, fits, strict=True):
        group = next(sampled) if fit else []
        for index in range(n):
            if not fit:
                pairs.append((problem, index, Completion("", finished=False)))
                continue
            one = group[index]
            text = (THINK if open_thinking else "") + decode_completion(tokenizer, one.ids)
            pairs.append((problem, index, Completion(text, one.finished, len(one.ids))))
    verdicts = grade_many([(problem, completion) for problem, _, completion in pairs])
    return [Rollout(*pair, verdict) for pair, verdict in zip(pairs, verdicts, strict=True)]


def rollouts_file(label: str, problems: str) -> str:
    """Name of the file that holds a model's rollouts on a problem set, beside its report."""
    return f"{label}-{problems}.jsonl".replace("/", "_")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    with path.open("w") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
