"""Rollouts: problems asked n times, sampled, graded. Evaluation counts them, rejection sampling filters them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.engine.types import Engine, Request, Sampled, Sampling, rollout_seed
from eval.pieces import Graded, Pieces
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
    open_thinking: bool = False,
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
    ask = _Ask(engine, tokenizer, sampling, n, tuple(seed_parts), open_thinking, context)
    size = max(1, max(PIECE_ROLLOUTS, PIECE_TOKENS // sampling.max_tokens) // n)
    found: list[Rollout] = []

    def tell(done: int, _of: int) -> None:
        if progress:
            progress(len(found) + done, len(problems) * n)

    for number, first in enumerate(range(0, len(problems), size)):
        piece = problems[first : first + size]
        piece_name = f"{name}-{number:05d}"
        graded = pieces.get(piece_name) if pieces else None
        if graded is None:
            graded = ask.of(piece, tell)
            if pieces:
                pieces.put(piece_name, graded)
        asked = [(problem, index) for problem in piece for index in range(n)]
        found += [Rollout(*one, *answer) for one, answer in zip(asked, graded, strict=True)]
        tell(0, 0)
    return found


@dataclass(frozen=True)
class _Ask:
    """How problems are put to a model, and graded."""

    engine: Engine
    tokenizer: Any
    sampling: Sampling
    n: int
    seed_parts: tuple[str | int, ...]
    open_thinking: bool
    context: int | None

    def of(self, problems: Sequence[Problem], progress: Callable[[int, int], None]) -> list[Graded]:
        prompts = [encode_prompt(self.tokenizer, problem, open_thinking=self.open_thinking) for problem in problems]
        fits = [self.context is None or len(prompt) < self.context for prompt in prompts]
        requests = [
            Request(prompt, [rollout_seed(*self.seed_parts, problem.id, i) for i in range(self.n)])
            for prompt, problem, fit in zip(prompts, problems, fits, strict=True)
            if fit
        ]
        sampled = iter(self.engine.sample(requests, self.sampling, progress))
        completions: list[Completion] = []
        for fit in fits:
            group = next(sampled) if fit else [None] * self.n
            completions += [self._completion(one) for one in group]
        asked = [problem for problem in problems for _ in range(self.n)]
        return list(zip(completions, grade_many(list(zip(asked, completions, strict=True))), strict=True))

    def _completion(self, sampled: Sampled | None) -> Completion:
        if sampled is None:
            return Completion("", finished=False)
        text = (THINK if self.open_thinking else "") + decode_completion(self.tokenizer, sampled.ids)
        return Completion(text, sampled.finished, len(sampled.ids))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    with path.open("w") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
