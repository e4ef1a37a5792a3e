"""Asking that can be stopped: answers are kept as they come, and a second attempt asks only for the rest."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol  # rows are JSON

from eval.choosing import Chooser
from eval.engine.types import Engine
from eval.language_model import Tokenizer
from eval.prompts import encode_prompts
from eval.protocol import Protocol as How
from eval.rollouts import Draws, Rollout, roll_out, write_rows
from rewards.flexible import flexible
from rewards.types import Problem

Row = dict[str, Any]

BLOCK = 256
"""Rollouts that an engine is asked for at once. Blocks start at the same places in every attempt, so that each rollout
has the same neighbours in its batches whether or not an attempt was stopped before it."""


class Source(Protocol):
    """Whatever answers problems: a model in this process, or a server."""

    def prompts(self, problems: Sequence[Problem]) -> Sequence[object]:
        """What is put to it for each problem."""
        ...

    def answers(self, problems: Sequence[Problem], have: set[tuple[str, int]]) -> Iterator[list[Rollout]]:
        """Graded answers to every (problem, index) that is not in `have`, in any order and grouping; others may be
        among them."""
        ...


@dataclass(frozen=True)
class Local:
    """A model in this process. `label` is not part of the seeds: a model is asked the same under every name."""

    engine: Engine
    tokenizer: Tokenizer
    how: How
    context: int | None = None

    def prompts(self, problems: Sequence[Problem]) -> list[list[int]]:
        return encode_prompts(self.tokenizer, problems, self.how.prompting)

    def answers(self, problems: Sequence[Problem], have: set[tuple[str, int]]) -> Iterator[list[Rollout]]:
        n = self.how.rollouts
        # Whole problems, so that the engine reads a prompt once for all of its rollouts.
        size = max(1, BLOCK // n)
        for start in range(0, len(problems), size):
            block = problems[start : start + size]
            if all((problem.id, i) in have for problem in block for i in range(n)):
                continue
            # All of the block, even if some of it is there: the last bits of a sum depend on what shares a batch.
            draws = Draws(n, self.how.sampling, (self.how.seed, "eval"), self.how.prompting, self.context)
            yield roll_out(self.engine, self.tokenizer, block, draws)


def rollouts(
    source: Source, problems: Sequence[Problem], n: int, file: Path, progress: Callable[[int, int], None] | None = None,
    best_by: Chooser | None = None,
) -> list[Row]:
    """The rows of `n` graded rollouts of every problem, in order; `file` holds them in the end.

    Until then FILE.partial holds those that are there, in the order in which they came, and an attempt that finds it
    goes on from it. The file is the same, byte for byte, however often that happened. With `best_by` a row also has the
    value that it gives, under that name. Raises Unanswered, and RubricError where a rule fails.
    """
    if file.is_file():
        return read_rows(file)
    partial = file.with_name(f"{file.name}.partial")
    wanted = [(problem.id, i) for problem in problems for i in range(n)]
    expected = set(wanted)
    rows = {key: row for row in read_rows(partial) if (key := (row["problem"], row["index"])) in expected}
    if progress:
        progress(len(rows), len(wanted))
    with partial.open("ab") as stream:
        for answers in source.answers(problems, set(rows)):
            new = _rows(answers, best_by)
            rows |= {(row["problem"], row["index"]): row for row in new}
            # The line break comes first: it ends a row that a killed attempt left torn.
            stream.write("".join(f"\n{json.dumps(row, ensure_ascii=False)}" for row in new).encode())
            stream.flush()
            os.fsync(stream.fileno())  # answers may have cost money: they survive a power cut, too
            if progress:
                progress(len(rows), len(wanted))
    ordered = [rows[key] for key in wanted]
    # Renamed when it is complete, so that whoever finds the file finds all of it.
    whole = file.with_name(f".{file.name}.{os.getpid()}")
    write_rows(whole, ordered)
    whole.replace(file)
    partial.unlink()
    return ordered


def _rows(answers: Sequence[Rollout], best_by: Chooser | None) -> list[Row]:
    values = [{}] * len(answers) if best_by is None else [{"best_by": value} for value in best_by(answers)]
    return [
        # A model that was not trained here may state its answer in prose: told beside the verdict, never in its place.
        {**one.row(), "flexible": str(flexible(one.problem, one.completion, one.verdict)), **value}
        for one, value in zip(answers, values, strict=True)
    ]


def read_rows(file: Path) -> list[Row]:
    """The whole rows of a file of rollouts; a torn one is left out, and so is JSON that is no row, such as the number
    at the end of a torn one. A file that is not there has none."""
    if not file.is_file():
        return []
    found: list[Row] = []
    for line in file.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # an empty line between rows, or a row that a killed attempt left torn
            continue
        if isinstance(row, dict):
            found.append(row)
    return found
