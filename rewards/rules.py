"""Rules that shape: plain functions `(problem, completion, *, options) -> float`.

Accuracy is no rule: it comes from verdicts alone. A rule of your own is such a function in a file, named in a recipe as
`path/to/file.py:function`, or made known by name with `@rule`.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from rewards.conventions.bind import NAMES, SHAPES, prefix_for
from rewards.extract import own_words, split_thinking
from rewards.languages import language_of, words_by_language
from rewards.registry import Registry, RegistryError
from rewards.types import Completion, Problem

Rule = Callable[..., float]
R = TypeVar("R", bound=Rule)



@dataclass(frozen=True)
class Bounds:
    """The least and the most that an option may be; a recipe whose rule has one outside of them is refused when it is
    read. Ours, because processes that grade load this file before they can find any package."""

    ge: float
    le: float = float("inf")

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        schema = {**handler(source), "ge": self.ge}
        return schema if self.le == float("inf") else {**schema, "le": self.le}


Count = Annotated[int, Bounds(1)]
Natural = Annotated[int, Bounds(0)]
Share = Annotated[float, Bounds(0, 1)]

RULES: Registry[Rule] = Registry(
    "rule",
    {name: f"rewards.rules:{name}" for name in ("effort", "format", "language", "length", "overlong", "repetition")},
    entry_points="retort.rules",
    prefixes=tuple(SHAPES),
)

_TAG = re.compile(r"</?(?:think|answer)>")


def rule(function: R) -> R:
    """Decorator: make a function known as a rule under its own name. Raises RegistryError if it is not shaped like
    one."""
    check_shape(function, function.__name__)
    RULES.add(function)
    return function


def check_shape(function: Any, name: str, reference: str = "") -> None:
    """Raise RegistryError unless `function` takes (problem, completion) and, beyond that, keyword-only options; for a
    function of another library the error says how to write `reference`."""
    shape = f"rule {name!r} must be a function (problem, completion, *, options) -> float"
    if not callable(function):
        raise RegistryError(f"{shape}, and is a {type(function).__name__}")
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    others = [p for p in parameters if p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    theirs = prefix_for(function, reference) if reference else ""
    # Two parameters may be another library's: what it calls them tells.
    foreign = theirs and positional and positional[0].name in NAMES
    if len(positional) != 2 or others or foreign:
        raise RegistryError(f"{shape}{theirs or '; put a * before its options'}")


def format(problem: Problem, completion: Completion) -> float:  # noqa: A001, ARG001
    """1.0 for exactly <think>..</think><answer>..</answer>, neither of them empty; else 0.0.

    <think> is missing where the prompt had opened the thinking (`in_thinking`), and only there.
    """
    text = own_words(completion).text.strip()
    opened = text.startswith("<think>")
    thinking, _, rest = text.removeprefix("<think>").partition("</think>")
    rest = rest.strip()
    answer = rest.removeprefix("<answer>").removesuffix("</answer>")
    # Tags are counted over the whole text, so that none can stand inside the thinking or the answer.
    whole = rest == f"<answer>{answer}</answer>" and len(_TAG.findall(text)) == (4 if opened else 3)
    return float(whole and bool(thinking.strip() and answer.strip()) and opened != completion.in_thinking)


def language(problem: Problem, completion: Completion) -> float:
    """Share of the words in the language of the prompt, thinking and answer together; 1.0 where there are no words.

    Numbers, formulas, tags and code carry no language.
    """
    target = language_of(problem.prompt)
    counts = words_by_language(_prose(problem, completion), target)
    total = sum(counts.values())
    # A formula without words is in no foreign language.
    return counts[target] / total if total else 1.0


def readable(problem: Problem, completion: Completion, *, least: Share = 0.99) -> bool:
    """Whether thinking and answer are in one language throughout, the prompt's: no foreign word in a hundred."""
    return language(problem, completion) >= least


def repetition(problem: Problem, completion: Completion, *, words: Count = 4) -> float:  # noqa: ARG001
    """Minus the share of runs of `words` words that stood in the completion before: 0.0 where nothing repeats, to
    -1.0."""
    # Words and signs rather than token ids: the value is then the same for every tokenizer.
    tokens = re.findall(r"\w+|[^\w\s]", own_words(completion).text.lower())
    runs = [tuple(tokens[i : i + words]) for i in range(len(tokens) - words + 1)]
    return len(set(runs)) / len(runs) - 1.0 if runs else 0.0


def length(problem: Problem, completion: Completion, *, most: Count, least: Natural = 0) -> float:  # noqa: ARG001
    """1.0 for `least` to `most` tokens, falling evenly to 0.0 at no tokens and at twice `most`."""
    tokens = _tokens(completion)
    if tokens < least:
        return tokens / least
    return max(0.0, min(1.0, 2.0 - tokens / most))


def overlong(problem: Problem, completion: Completion, *, most: Count, buffer: Count) -> float:  # noqa: ARG001
    """0.0 up to `most - buffer` tokens, falling evenly to -1.0 at `most` (the soft overlong penalty of DAPO,
    2503.14476)."""
    excess = _tokens(completion) - (most - buffer)
    return -min(1.0, max(0.0, excess / buffer))


def effort(problem: Problem, completion: Completion, *, exact: bool = False) -> float:
    """0.0 for thinking within the budget of the effort that was asked for, falling evenly to -1.0 at twice that budget;
    0.0 where no effort was asked for.

    With `exact` a budget is to be used: the value falls as evenly below it, to -1.0 at no thinking (as in LCPO-Exact,
    arXiv 2503.04697, whose distance is in tokens). The budget is `thinking_budget` of the problem's meta, in tokens,
    where `effort` of a grpo stage puts it.
    """
    budget: int | None = problem.meta.get("thinking_budget")
    if not budget:
        return 0.0
    thinking = completion.thinking
    if thinking is None:  # nobody has counted tokens: words and signs stand in for them
        thinking = len(re.findall(r"\w+|[^\w\s]", split_thinking(own_words(completion))[0].removeprefix("<think>")))
    beyond = thinking / budget - 1.0
    return -min(1.0, abs(beyond) if exact else max(0.0, beyond))


def _tokens(completion: Completion) -> int:
    # Rows of `retort grade` come without a count; words and signs stand in for tokens there.
    return completion.tokens or len(re.findall(r"\w+|[^\w\s]", completion.text))


def _prose(problem: Problem, completion: Completion) -> str:
    """The thinking and the answer; of a program, the thinking alone. Neither has what tools wrote."""
    # Keywords and names of a program are English, whatever language the prompt is in.
    if problem.verifier != "code":
        return own_words(completion).text
    return split_thinking(own_words(completion))[0]
