"""Rollouts: problems asked n times, sampled, graded. Evaluation counts them, rejection sampling filters them."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any  # a row is JSON

from eval.answer_reader import AnswerReader
from eval.answering import answered
from eval.engine.types import Engine, Request, Sampled, Sampling, rollout_seed
from eval.language_model import Tokenizer
from eval.pieces import Pieces, short
from eval.prompts import encode_prompts
from eval.protocol import Prompting
from rewards.background import Background
from rewards.grade import grade, load_verifiers
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
            "prompt": self.problem.prompt,
            "meta": dict(self.problem.meta),
            "index": self.index,
            "text": self.completion.text,
            "finished": self.completion.finished,
            "tokens": self.completion.tokens,
            **({} if self.completion.thinking is None else {"thinking": self.completion.thinking}),
            **({"observations": self.completion.observations} if self.completion.observations else {}),
            "verdict": str(self.verdict.label),
            "extracted": self.verdict.extracted,
            "reason": self.verdict.reason,
            "format": format_rule(self.problem, self.completion) == 1.0,
            "readable": readable(self.problem, self.completion),
        }


@dataclass(frozen=True)
class Draws:
    """How the rollouts of problems are drawn.

    n           rollouts of each problem
    seed_parts  what the draws of a rollout come from besides its problem and its index
    context     tokens that prompt and completion may have together; None where there is no limit
    """

    n: int
    sampling: Sampling
    seed_parts: tuple[str | int, ...]
    prompting: Prompting = field(default_factory=Prompting)
    context: int | None = None


PIECE_TOKENS = 2**17
"""Most completion tokens of a piece: what a stopped evaluation can lose."""

PIECE_ROLLOUTS = 256
"""Least rollouts of a piece, so that the engine's batches stay full."""

PIECES = 4
"""Pieces that an evaluation is made of at least, where it has problems and rollouts enough: what several processes can
share."""


def collect(
    engine: Engine,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    draws: Draws,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Rollout]:
    """`draws.n` graded rollouts of every problem, in order, as `roll_out` makes them.

    Work goes piece by piece, as where pieces are kept, since the last bits of a sum depend on what is in a batch.
    """
    found: list[Rollout] = []

    def tell(done: int, _of: int) -> None:
        if progress:
            progress(len(found) + done, len(problems) * draws.n)

    for piece in _pieces(problems, draws):
        found += roll_out(engine, tokenizer, piece, draws, tell)
    return found


def keep(
    engine: Engine,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    draws: Draws,
    pieces: Pieces,
    name: str = "rollouts",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make what `collect` returns, for `recall`, but for the pieces of this name that are there already and those that
    fall to other processes."""
    done = 0  # rollouts of pieces that have been gone through

    def tell(drawn: int, _of: int) -> None:
        if progress:
            progress(done + drawn, len(problems) * draws.n)

    for number, piece in enumerate(_pieces(problems, draws)):
        place = f"{name}-{number:05d}"
        mine = pieces.take_turn()
        if mine and pieces.get(place) is None:
            new = roll_out(engine, tokenizer, piece, draws, tell)
            pieces.put(place, [(one.completion, one.verdict) for one in new])
        done += len(piece) * draws.n
        tell(0, 0)


def recall(problems: Sequence[Problem], draws: Draws, pieces: Pieces, name: str = "rollouts") -> list[Rollout]:
    """The rollouts that `keep` has made under this name, here and in other processes, for which it waits."""
    found: list[Rollout] = []
    for number, piece in enumerate(_pieces(problems, draws)):
        graded = pieces.wait_for(f"{name}-{number:05d}")
        asked = [(problem, index) for problem in piece for index in range(draws.n)]
        found += [Rollout(*one, *answer) for one, answer in zip(asked, graded, strict=True)]
    return found


def piece_size(rollouts: int, most: int) -> int:
    """Rollouts of a piece, where there are so many in all, of at most `most` tokens."""
    return max(PIECE_ROLLOUTS, min(PIECE_TOKENS // most, -(-rollouts // PIECES)))


def _pieces(problems: Sequence[Problem], draws: Draws) -> Iterator[Sequence[Problem]]:
    """The problems in pieces of equal size, whatever the number of processes that share them."""
    rollouts = len(problems) * draws.n
    size = piece_size(rollouts, draws.sampling.max_tokens)
    each = max(1, -(-len(problems) // max(1, -(-rollouts // size))))
    for first in range(0, len(problems), each):
        yield problems[first : first + each]


def roll_out(
    engine: Engine,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    draws: Draws,
    progress: Callable[[int, int], None] | None = None,
) -> list[Rollout]:
    """`draws.n` rollouts of every problem, in order, each graded while others are still written.

    What is drawn depends on (`seed_parts`, problem, index) alone. Prompts that leave no room in `context` tokens are
    answered with an unfinished empty completion, which counts as truncated.
    """
    load_verifiers(problems)
    with Background() as background:
        verdicts: dict[tuple[int, int], Future[Verdict]] = {}

        def written(place: int, index: int, completion: Completion) -> None:
            # Grading waits for processes that run programs or sympy, which costs the engine nothing.
            verdicts[place, index] = background.submit(grade, problems[place], completion)

        groups = complete(engine, tokenizer, problems, draws, progress, written)
        return [
            Rollout(problems[place], index, completion, verdicts[place, index].result())
            for place, group in enumerate(groups) for index, completion in enumerate(group)
        ]


def complete(
    engine: Engine,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    draws: Draws,
    progress: Callable[[int, int], None] | None = None,
    written: Callable[[int, int, Completion], None] = lambda *_: None,
) -> list[list[Completion]]:
    """`draws.n` completions of every problem, as `roll_out` grades them. `written` hears of each as soon as it is
    there, with the places of its problem and of the completion among those of the problem."""
    n, prompting = draws.n, draws.prompting
    prompts = encode_prompts(tokenizer, problems, prompting)
    room = draws.context
    fitting = [place for place, prompt in enumerate(prompts) if room is None or len(prompt) < room]
    requests = [
        Request(prompts[place], [rollout_seed(*draws.seed_parts, problems[place].id, index) for index in range(n)],
                None if room is None else room - len(prompts[place]))
        for place in fitting
    ]
    found = [[Completion("", finished=False)] * n for _ in problems]
    reader = AnswerReader(tokenizer, stop=prompting.stop)
    opened = [reader.opens(prompts[place]) for place in fitting]
    # Where nobody has asked for so much thinking and no more, it is not counted.
    counts = prompting.effort is not None or prompting.thinking_budget is not None

    def done(request: int, index: int, one: Sampled) -> None:
        place = fitting[request]
        completion = reader.completion(one.ids, opened=opened[request], finished=one.finished)
        completion = replace(completion, confidence=one.confidence)
        if counts:
            completion = replace(completion, thinking=reader.thinking_tokens(one.ids, opened=opened[request]))
        if prompting.tools is not None:
            spans = reader.spans(one.ids, one.forced, opened=opened[request])
            completion = replace(completion, observations=spans)
        found[place][index] = completion
        written(place, index, completion)

    # What does not fit is told, too, so that every rollout has a verdict.
    for place in set(range(len(problems))).difference(fitting):
        for index in range(n):
            written(place, index, found[place][index])
    sampling = replace(draws.sampling, stop=prompting.stop)
    answered(engine, reader, requests, sampling, prompting, progress, done)
    return found


def rollouts_file(label: str, problems: str) -> str:
    """Name of the file that holds a model's rollouts on a problem set, beside its report."""
    return short(f"{label}-{problems}".replace("%", "%25").replace("/", "%2F")) + ".jsonl"


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
