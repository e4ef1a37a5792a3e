"""The reward of GRPO: a rubric over verdicts, found while other rollouts are still written."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple, Protocol

from accelerate.utils import gather_object

from eval.answer_reader import AnswerReader
from eval.ends import ends_of
from eval.engine.types import Sampled
from eval.language_model import LanguageModel, Tokenizer
from eval.prompts import encode_prompts
from eval.protocol import Effort, Prompting
from pipeline.disk.durable import JsonObject
from pipeline.rl.rollouts.efforts import asked_with, figures, has_budget, told, with_budget
from pipeline.rl.rollouts.scales import Scales
from rewards.background import Background
from rewards.conventions.scoring import Ask
from rewards.grade import grade, load_verifiers
from rewards.rubric import Reward, Rubric
from rewards.types import Completion, Problem, Verdict

# Rewards are multiples of this: means of groups of the usual sizes are then exact.
EXACT = 2.0**-16

Answer = tuple[str, tuple[int, ...], tuple[range, ...]]
"""What a problem is called (its id, with the effort that it is asked with), the ids of a completion and which of them
the model has not written: all that a reward depends on."""


class Graded(NamedTuple):
    """A completion, what is made of it, and its reward, at first without the rules that want a whole group."""

    completion: Completion
    verdict: Verdict
    reward: Reward


class Grading(Protocol):
    """Says what rollouts are worth."""

    def begin(self, problem: str, drawn: Sampled) -> None:
        """A completion of this problem was drawn, and may be graded meanwhile."""
        ...

    def totals(self, problems: Sequence[str], drawn: Sequence[Sampled]) -> list[float | None]:
        """The rewards of completions that were begun, None where nobody can tell."""
        ...

    def finish(self, problems: Sequence[str], drawn: Sequence[Sampled]) -> list[float | None]:
        """The rewards of the round's completions; what was begun is counted for the log, with what other processes
        have, and forgotten. All of them call it together."""
        ...


class RewardFunction:
    """The rubric's total for each completion, or None for the ungradable.

    `problems` are by what they are called (`efforts.asked_with`), which is their id where no effort is asked for.
    `reader` knows where completions end, and `opened` are the names of the problems whose prompts open the thinking.
    With `tools` what was not drawn is what they have written, and no answer of the model's. Completions of a problem
    that stand side by side are of several groups where they are more than `group_size`.
    What `begin` is told is graded in the background, and the same answer once; rules that want all completions of a
    problem at once follow where totals are asked for, a group that is the same being asked about once. Counts verdicts,
    and keeps the parts of the reward for the log, of all that was begun since the last `finish`, or of what is asked
    where nothing was. Used with `with`, what was not graded when its owner leaves is dropped.
    """

    def __init__(
        self, problems: Mapping[str, Problem], rubric: Rubric, reader: AnswerReader, opened: Collection[str] = (),
        *, tools: bool = False, group_size: int | None = None
    ) -> None:
        self.problems, self.rubric, self.reader, self.opened = problems, rubric, reader, frozenset(opened)
        self.tools, self.group_size = tools, group_size
        self.parts: dict[str, float] = {}
        self.verdicts: dict[str, float] = {}
        self.by_effort: dict[str, float] = {}
        self.scales = Scales(rubric)
        self.rounds = 0
        self.told: list[Graded] = []
        """What was last said of a round's completions, in the order in which `finish` was asked, for who keeps them."""
        self._background = Background()
        self._begun: list[Answer] = []
        self._found: dict[Answer, Future[Graded]] = {}
        self._groups: dict[tuple[Answer, ...], list[Reward]] = {}

    @classmethod
    def of(
        cls, problems: Sequence[Problem], rubric: Rubric, model: LanguageModel, tokenizer: Tokenizer, how: Prompting,
        budgets: Mapping[Effort, int] = MappingProxyType({}), group_size: int | None = None
    ) -> "RewardFunction":
        """For answers of this model to problems that are put as `how` says, with each of the efforts that have
        `budgets` for their thinking."""
        load_verifiers(problems)
        reader = AnswerReader(tokenizer, ends_of(tokenizer, model), how.stop)
        asked, opened = {}, []
        for effort in budgets or (None,):
            prompts = encode_prompts(tokenizer, problems, how.asking(effort))
            for problem, ids in zip(problems, prompts, strict=True):
                name = asked_with(problem.id, effort)
                asked[name] = with_budget(problem, effort, budgets[effort]) if effort else problem
                if reader.opens(ids):
                    opened.append(name)
        return cls(asked, rubric, reader, opened, tools=how.tools is not None, group_size=group_size)

    def __enter__(self) -> "RewardFunction":
        return self

    def __exit__(self, *error: object) -> None:
        self._background.__exit__(*error)

    def state(self) -> JsonObject:
        return {
            "parts": self.parts, "verdicts": self.verdicts, "rounds": self.rounds, "scales": self.scales.state(),
            "by_effort": self.by_effort,
        }

    def restore(self, state: JsonObject) -> None:
        self.parts, self.verdicts, self.rounds = state["parts"], state["verdicts"], state["rounds"]
        self.by_effort = state["by_effort"]
        self.scales.restore(state["scales"])

    def begin(self, problem: str, drawn: Sampled) -> None:
        """Have a completion of this problem graded, in the background."""
        answer = _answer(problem, drawn)
        self._begun.append(answer)
        # The same answer to the same problem is graded once a round, however often it is drawn.
        if answer not in self._found:
            self._found[answer] = self._background.submit(
                self._score, self.problems[problem], self._completion(problem, drawn)
            )

    def totals(self, problems: Sequence[str], drawn: Sequence[Sampled]) -> list[float | None]:
        """The rewards of completions that were begun, rounded to multiples of `EXACT`; those of a group stand side by
        side."""
        return [_exact(reward) for reward in self._rewards(_answers(problems, drawn))]

    def finish(self, problems: Sequence[str], drawn: Sequence[Sampled]) -> list[float | None]:
        """The rewards of the round's completions; what was begun is counted for the log, and forgotten."""
        if not self._begun:
            for name, one in zip(problems, drawn, strict=True):
                self.begin(name, one)
        answers = _answers(problems, drawn)
        rewards = self._rewards(answers)
        self.told = [self._found[answer].result()._replace(reward=reward)
                     for answer, reward in zip(answers, rewards, strict=True)]
        graded = [self._found[answer].result() for answer in self._begun]
        # Groups that gave way to others were asked about as well, so that all that was begun is in a group.
        groups = [reward for group in self._groups.values() for reward in group]
        efforts = [
            told(self.problems[name], one.completion, one.verdict)
            for (name, *_), one in zip(self._begun, graded, strict=True) if has_budget(self.problems[name])
        ]
        self.by_effort = figures(gather_object(efforts))
        self._count([one.verdict for one in graded], groups if self.rubric.whole else [one.reward for one in graded])
        self._begun, self._found, self._groups = [], {}, {}
        self.rounds += 1
        return [_exact(reward) for reward in rewards]

    def _completion(self, problem: str, drawn: Sampled) -> Completion:
        ids, opened = drawn.ids, problem in self.opened
        # Also where a completion ends with the last token that it may have.
        completion = self.reader.completion(ids, opened=opened, finished=self.reader.ended(ids))
        # Where it is asked with an effort; elsewhere nobody wants to know.
        asked_with_effort = has_budget(self.problems[problem])
        thinking = self.reader.thinking_tokens(ids, opened=opened) if asked_with_effort else None
        spans = self.reader.spans(ids, drawn.forced, opened=opened) if self.tools else ()
        return replace(completion, ids=tuple(ids), thinking=thinking, observations=spans)

    def _rewards(self, answers: Sequence[Answer]) -> list[Reward]:
        """Those of a group stand side by side."""
        runs = [[*run] for _, run in groupby(answers, key=lambda one: one[0])]
        groups = [run[begin : begin + (self.group_size or len(run))]
                  for run in runs for begin in range(0, len(run), self.group_size or len(run))]
        return [reward for group in groups for reward in self._of_group(group)]

    def _score(self, problem: Problem, completion: Completion) -> "Graded":
        verdict = grade(problem, completion)
        return Graded(completion, verdict, self.rubric.alone(problem, completion, verdict))

    def _of_group(self, answers: Iterable[Answer]) -> list[Reward]:
        """The rewards of completions of one problem."""
        group = tuple(answers)
        graded = [self._found[answer].result() for answer in group]
        if not self.rubric.whole:
            return [one.reward for one in graded]
        if group not in self._groups:
            ask = Ask(self.problems[group[0][0]], [one.completion for one in graded], self.rounds)
            self._groups[group] = self.rubric.together(
                ask, [one.verdict for one in graded], [one.reward for one in graded]
            )
        return self._groups[group]

    def _count(self, verdicts: Sequence[Verdict], rewards: Sequence[Reward]) -> None:
        values: dict[str, list[float]] = defaultdict(list)
        for part in gather_object([dict(reward.parts) for reward in rewards]):  # those of all processes
            for name, value in part.items():
                values[name].append(value)
        # Of those that a rule applies to; what is ungradable has no parts.
        self.parts = {name: sum(found) / len(found) for name, found in values.items()}
        self.scales.see(values)
        counts = Counter(gather_object([str(verdict.label) for verdict in verdicts]))
        self.verdicts = {name: count / counts.total() for name, count in counts.items()}


def _answers(problems: Sequence[str], drawn: Sequence[Sampled]) -> list[Answer]:
    return [_answer(problem, one) for problem, one in zip(problems, drawn, strict=True)]


def _answer(problem: str, drawn: Sampled) -> Answer:
    return problem, tuple(drawn.ids), drawn.forced


def _exact(reward: Reward) -> float | None:
    return None if reward.total is None else round(reward.total / EXACT) * EXACT
