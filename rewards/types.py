"""The nouns of grading: a problem, what a model wrote, and what a verifier made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Label(StrEnum):
    """What a verifier can say of a completion.

    UNGRADABLE (the grader failed or ran out of time, or the gold answer cannot be parsed) says nothing
    about the completion: such a rollout leaves its group and is counted, and is never a silent zero.
    """

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    TRUNCATED = "truncated"
    UNGRADABLE = "ungradable"


@dataclass(frozen=True, slots=True)
class Problem:
    """One verifiable question. It names its own verifier, so nobody can grade it differently.

    `answer` is what the verifier compares with: text for `math`, `{"entry": .., "tests": [..]}` for `code`.
    `skeleton` identifies the problem behind its wording (the numbers and the operations), so that splits
    can be made by what is asked rather than by how it is phrased; it is the prompt where nothing better is known.
    """

    id: str
    prompt: str
    answer: Any
    verifier: str
    family: str
    skeleton: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after the prompt.

    `finished` is False where the token budget ended before the end-of-text token. `tokens` counts
    generated tokens, the end-of-text token included. `in_thinking` is True where the prompt ended inside an
    opened <think>, so that the text starts as thinking and is nothing else until a </think>. `ids` are the generated
    tokens, where a training knows them; `thinking` is how many of them stand before the end of the thinking, where
    somebody has counted. `confidence` is the mean log-probability of its tokens, where it was drawn here.
    `observations` are the characters of the text, from and to, that tools have written.
    """

    text: str
    finished: bool = True
    tokens: int = 0
    in_thinking: bool = False
    ids: tuple[int, ...] = field(default=(), repr=False, compare=False)
    thinking: int | None = field(default=None, compare=False)
    confidence: float | None = field(default=None, compare=False)
    observations: tuple[tuple[int, int], ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's finding: the label, the answer it read (None where there was none) and why, in one line.

    `share` is the share of tests passed, where the verifier counts some.
    """

    label: Label
    extracted: str | None = None
    reason: str = ""
    seconds: float = 0.0
    share: float | None = None

    @property
    def correct(self) -> bool:
        return self.label is Label.CORRECT
