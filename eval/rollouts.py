"""Rollouts: problems asked n times, sampled, graded. Evaluation counts them, rejection sampling filters them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eval.budget import sample_within
from eval.engine.types import Engine, Request, Sampled, Sampling, rollout_seed
from eval.pieces import Graded, Pieces
from eval.prompts import THINK, decode_completion, encode_prompts
from eval.protocol import Prompting
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


PIECE_TOKENS = 2**17
"""Most completion tokens of a piece: what a stopped evaluation can lose."""

PIECE_ROLLOUTS = 256
"""Least rollouts of a piece, so that the engine's batches stay full."""


def collect(
    engine: Engine,
    tokenizer: Any,
    problems: Sequence[Problem],
    sampling: Sampling,
    *,
    n: int,
    seed_parts: Iterable[str | int],
    prompting: Prompting = Prompting(),  # noqa: B008  (it is frozen)
    context: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    pieces: Pieces | None = None,
    name: str = "rollouts",
) -> list[Rollout]:
    """`n` graded rollouts of every problem, in order.

    The draws of a rollout come from (`seed_parts`, problem, index) alone. Prompts that leave no room in `context`
    tokens are answered with an unfinished empty completion, which counts as truncated.

    Work goes piece by piece, whether they are kept or not, since the last bits of a sum depend on what is in a batch: with
    `pieces`, those of `name` that are there already are taken from there.
    """
    size = max(1, max(PIECE_ROLLOUTS, PIECE_TOKENS // sampling.max_tokens) // n)
    parts = tuple(seed_parts)
    found: list[Rollout] = []

    def tell(done: int, _of: int) -> None:
        if progress:
            progress(len(found) + done, len(problems) * n)

    for number, first in enumerate(range(0, len(problems), size)):
        piece = problems[first : first + size]
        asked = [(problem, index) for problem in piece for index in range(n)]
        graded = pieces.get(f"{name}-{number:05d}") if pieces else None
        if graded is None:
            groups = complete(engine, tokenizer, piece, sampling, n=n, seed_parts=parts, prompting=prompting, context=context,
                              progress=tell)
            graded = _graded(asked, [one for group in groups for one in group])
            if pieces:
                pieces.put(f"{name}-{number:05d}", graded)
        found += [Rollout(*one, *answer) for one, answer in zip(asked, graded, strict=True)]
        tell(0, 0)
    return found


def _graded(asked: Sequence[tuple[Problem, int]], completions: Sequence[Completion]) -> list[Graded]:
    verdicts = grade_many([(problem, completion) for (problem, _), completion in zip(asked, completions, strict=True)])
    return list(zip(completions, verdicts, strict=True))


def complete(
    engine: Engine,
    tokenizer: Any,
    problems: Sequence[Problem],
    sampling: Sampling,
    *,
    n: int,
    seed_parts: Iterable[str | int],
    prompting: Prompting = Prompting(),  # noqa: B008
    context: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[Completion]]:
    """`n` completions of every problem, as `collect` grades them."""
    parts = tuple(seed_parts)
    prompts = encode_prompts(tokenizer, [problem.prompt for problem in problems], prompting)
    fits = [context is None or len(prompt) < context for prompt in prompts]
    requests = [
        Request(prompt, [rollout_seed(*parts, problem.id, i) for i in range(n)])
        for prompt, problem, fit in zip(prompts, problems, fits, strict=True)
        if fit
    ]
    sampling = replace(sampling, stop=prompting.stop)
    if prompting.thinking_budget is None:
        sampled = iter(engine.sample(requests, sampling, progress))
    else:
        sampled = iter(sample_within(engine, tokenizer, requests, sampling, prompting, progress))
    before = THINK if prompting.open_thinking else ""
    return [
        [_completion(tokenizer, one, before, prompting.stop) for one in next(sampled)] if fit
        else [Completion("", finished=False)] * n
        for fit in fits
    ]


def _completion(tokenizer: Any, one: Sampled, before: str, stop: Sequence[str]) -> Completion:
    text, ended = cut(decode_completion(tokenizer, one.ids), stop)
    return Completion(before + text, one.finished or ended, len(one.ids))


def cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """(the text before the first of the stop texts, whether there was one)."""
    places = [place for place in (text.find(mark) for mark in stop) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


def rollouts_file(label: str, problems: str) -> str:
    """Name of the file that holds a model's rollouts on a problem set, beside its report."""
    return f"{label}-{problems}.jsonl".replace("/", "_")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
