"""The reward of GRPO: a rubric over verdicts, found while other rollouts are still written."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from eval.language_model import Tokenizer, decode_completion
from pipeline.disk.durable import JsonObject
from rewards.background import Background
from rewards.grade import grade
from rewards.rubric import Reward, Rubric
from rewards.types import Completion, Problem, Verdict

# Rewards are multiples of this: the mean of a group of equal ones is then exact, and no advantage is made of rounding
# errors.
EXACT = 2.0**-16

Answer = tuple[str, tuple[int, ...]]
"""A problem's id and the ids of a completion: all that a reward depends on."""


class Grading(Protocol):
    """Says what rollouts are worth. Completions are token ids, the end-of-text id included."""

    def begin(self, problem: str, ids: Sequence[int]) -> None:
        """A completion of this problem was drawn, and may be graded meanwhile."""
        ...

    def totals(self, problems: Sequence[str], completions: Sequence[Sequence[int]]) -> list[float | None]:
        """The rewards of completions that were begun, None where nobody can tell."""
        ...

    def finish(self, problems: Sequence[str], completions: Sequence[Sequence[int]]) -> list[float | None]:
        """The rewards of the round's completions; what was begun is counted for the log, and forgotten."""
        ...


class RewardFunction:
    """The rubric's total for each completion, or None for the ungradable.

    What `begin` is told is graded in the background, and the same answer once. Counts verdicts, and keeps the parts of
    the reward for the log, of all that was begun since the last `finish`, or of what is asked where nothing was. Used
    with `with`, what was not graded when its owner leaves is dropped.
    """

    def __init__(self, problems: Mapping[str, Problem], rubric: Rubric, tokenizer: Tokenizer, prefix: str) -> None:
        self.problems, self.rubric, self.tokenizer, self.prefix = problems, rubric, tokenizer, prefix
        self.parts: dict[str, float] = {}
        self.verdicts: dict[str, float] = {}
        self._background = Background()
        self._begun: list[Answer] = []
        self._found: dict[Answer, Future[tuple[Verdict, Reward]]] = {}

    def __enter__(self) -> "RewardFunction":
        return self

    def __exit__(self, *error: object) -> None:
        self._background.__exit__(*error)

    def state(self) -> JsonObject:
        return {"parts": self.parts, "verdicts": self.verdicts}

    def restore(self, state: JsonObject) -> None:
        self.parts, self.verdicts = state["parts"], state["verdicts"]

    def begin(self, problem: str, ids: Sequence[int]) -> None:
        """Have a completion of this problem graded, in the background."""
        answer = problem, tuple(ids)
        self._begun.append(answer)
        # The same answer to the same problem is graded once a round, however often it is drawn.
        if answer not in self._found:
            # Also where a completion ends with the last token that it may have.
            finished = ids[-1] == self.tokenizer.eos_token_id
            completion = Completion(self.prefix + decode_completion(self.tokenizer, list(ids)), finished, len(ids))
            self._found[answer] = self._background.submit(self._score, self.problems[problem], completion)

    def totals(self, problems: Sequence[str], completions: Sequence[Sequence[int]]) -> list[float | None]:
        """The rewards of completions that were begun, rounded to multiples of `EXACT`."""
        rewards = [self._found[name, tuple(ids)].result()[1] for name, ids in zip(problems, completions, strict=True)]
        return [None if reward.total is None else round(reward.total / EXACT) * EXACT for reward in rewards]

    def finish(self, problems: Sequence[str], completions: Sequence[Sequence[int]]) -> list[float | None]:
        """The rewards of the round's completions; what was begun is counted for the log, and forgotten."""
        if not self._begun:
            for name, ids in zip(problems, completions, strict=True):
                self.begin(name, ids)
        totals = self.totals(problems, completions)
        self._count([self._found[answer].result() for answer in self._begun])
        self._begun, self._found = [], {}
        return totals

    def _score(self, problem: Problem, completion: Completion) -> tuple[Verdict, Reward]:
        verdict = grade(problem, completion)
        return verdict, self.rubric.score(problem, completion, verdict)

    def _count(self, scored: Sequence[tuple[Verdict, Reward]]) -> None:
        sums: dict[str, float] = defaultdict(float)
        for _, reward in scored:
            for name, value in reward.parts.items():
                sums[name] += value
        graded = max(1, sum(reward.total is not None for _, reward in scored))
        self.parts = {name: value / graded for name, value in sums.items()}
        counts = Counter(str(verdict.label) for verdict, _ in scored)
        self.verdicts = {name: count / len(scored) for name, count in counts.items()}
