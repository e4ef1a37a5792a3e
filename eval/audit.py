"""`retort grade --audit SET`: whether a problem set's own answers earn CORRECT, and wrong ones WRONG, from its own
verifier.

What is right: the gold answer in a box and in <answer> tags, and `meta["solution"]` where the problem has one. What is
wrong: the next problem's answer, where it certainly differs, for code programs that return nothing, None, or an object
that equals everything, and for multiple choice every other letter. Where an answer only says what is asked, as in a
game, nothing but solutions is tried. A verifier that is not ours is put to solutions alone, or to `str(answer)` where
there are none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from rewards.choice import right_letter
from rewards.grade import grade_many
from rewards.types import Completion, Label, Problem

AT_ONCE = 64  # checks that are graded together
NEXT = 8
"""Problems after the one in question among which an answer is looked for that certainly differs."""

# These fool a grader that compares in the program's own process, or that takes the absence of an error for success.
_EQUALS_ALL = (
    "    class A:\n        def __eq__(self, other): return True\n        def __ne__(self, other): return False\n"
    "        def __bool__(self): return True\n        def __len__(self): return 0\n        def __iter__(self): return "
    "iter(())\n"
    "        __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __eq__\n        def __hash__(self): return 0\n"
    "        def __getattr__(self, name): return self\n        def __call__(self, *_): return self\n"
    "        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __getitem__ = __abs__ = __call__\n    return A()\n"
)
_BODIES = {"pass": "    pass\n", "return None": "    return None\n", "an object that equals everything": _EQUALS_ALL}
_GAMES = ("countdown", "gym")
"""Verifiers whose answers say what is asked and not what is right."""

_PLAIN = re.compile(r"([-+]?)(?:\\[dt]?frac\{(\d+)\}\{(\d+)\}|(\d+)/(\d+)|(\d[\d,]*(?:\.\d+)?))(\\?%)?")


@dataclass(frozen=True, slots=True)
class Check:
    """One completion and what its verdict has to be."""

    problem: Problem
    what: str
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check with its verdict."""

    check: Check
    label: Label
    reason: str

    @property
    def fails(self) -> bool:
        """Whether a right answer is not CORRECT, or a wrong one is CORRECT or UNGRADABLE."""
        if self.check.right:
            return self.label is not Label.CORRECT
        return self.label in (Label.CORRECT, Label.UNGRADABLE)

    def __str__(self) -> str:
        wanted = "correct" if self.check.right else "wrong"
        return f"{self.check.problem.id}: {self.check.what} is {self.label.value}, not {wanted}: {self.reason}"


def audit(problems: Sequence[Problem], *, jobs: int = 1) -> Iterator[Outcome]:
    """The outcome of every check, as they come."""
    checks = (check for at in range(len(problems)) for check in checks_of(problems, at))
    while some := list(islice(checks, AT_ONCE)):
        verdicts = grade_many([(check.problem, Completion(check.text)) for check in some], jobs=jobs)
        for check, verdict in zip(some, verdicts, strict=True):
            yield Outcome(check, verdict.label, verdict.reason)


def checks_of(problems: Sequence[Problem], at: int) -> Iterator[Check]:
    """The checks of the problem at this place."""
    problem = problems[at]
    if "solution" in problem.meta:
        yield Check(problem, "its own solution", str(problem.meta["solution"]), True)
    if problem.verifier == "math":
        yield Check(problem, "its own answer in a box", f"So it is \\boxed{{{problem.answer}}}.", True)
        yield Check(problem, "its own answer in tags", f"<think>So.</think><answer>{problem.answer}</answer>", True)
    elif problem.verifier == "code":
        yield from _empty_programs(problem)
        return
    elif problem.verifier == "choice":
        yield from _letters(problem)
        return
    elif problem.verifier in _GAMES:
        if "solution" not in problem.meta:
            return
    elif "solution" not in problem.meta:
        yield Check(problem, "its own answer", str(problem.answer), True)
    # There may be none: in a set of yes and no the next answers can all be the same.
    other = next((o for o in _following(problems, at) if _certainly_differ(problem, o)), None)
    if other is None:
        return
    if problem.verifier == "math":
        yield Check(
            problem, f"{other.answer!r}, the answer of {other.id},", f"So it is \\boxed{{{other.answer}}}.", False
        )
    elif "solution" in other.meta:
        yield Check(problem, f"the solution of {other.id}", str(other.meta["solution"]), False)
    elif problem.verifier not in _GAMES:
        yield Check(problem, f"the answer of {other.id}", str(other.answer), False)


def _letters(problem: Problem) -> Iterator[Check]:
    choices = [(chr(ord("A") + place), text) for place, text in enumerate(problem.answer["choices"])]
    right = right_letter(problem.answer["letter"])
    for letter, text in choices:
        of = "its own letter" if letter == right else f"the letter {letter}"
        yield Check(problem, f"{of} in a box", f"So it is \\boxed{{{letter}}}.", letter == right)
        told = f"<think>So.</think><answer>{letter}) {text}</answer>"
        yield Check(problem, f"{of} with its text", told, letter == right)


def _following(problems: Sequence[Problem], at: int) -> Iterator[Problem]:
    return (problems[(at + ahead) % len(problems)] for ahead in range(1, min(NEXT, len(problems))))


def _empty_programs(problem: Problem) -> Iterator[Check]:
    answer = problem.answer if isinstance(problem.answer, Mapping) else {}
    if answer.get("prefix"):
        # HumanEval: a completion goes on inside the function whose head is the prompt.
        for what, body in _BODIES.items():
            yield Check(problem, what, body, False)
        return
    names = answer.get("names") or [answer.get("entry")]
    if not all(isinstance(name, str) for name in names):  # a script
        yield Check(problem, "pass", "pass", False)
        return
    # Where a method is asked for, such as Solution().f, a function of its name will do.
    names = [name.rpartition(".")[2] for name in names]
    for what, body in _BODIES.items():
        yield Check(problem, what, "\n".join(f"def {name}(*_, **__):\n{body}" for name in names), False)


def _certainly_differ(a: Problem, b: Problem) -> bool:
    """Whether two answers are different whatever one forgives: units, spellings, and what else the grader may know.

    For this the grader itself cannot be asked. Answers differ where each has a number (or without any, a letter) that
    the other has not, and both are not plainly the same number.
    """
    if isinstance(a.answer, Mapping) and isinstance(b.answer, Mapping):
        # In a game another target is certainly missed.
        return "target" not in a.answer or a.answer["target"] != b.answer.get("target")
    if a.verifier != b.verifier:
        return False
    one, other = str(a.answer), str(b.answer)
    numbers, others = _parts(one), _parts(other)
    # 5 and 5 cm might be one answer to a grader that forgives units; 5 and 7 cannot.
    if numbers <= others or others <= numbers:
        return False
    plain = _plain(one)
    return plain is None or plain != _plain(other)


def _parts(text: str) -> set[str]:
    # Separators of thousands, those of LaTeX too; otherwise 18,000 would hold the numbers 18 and 000.
    text = re.sub(r"(?<=\d)(?:,|\\[,!;]|\{,\})+(?=\d{3})", "", text)
    return set(re.findall(r"\d+", text) or re.findall(r"[a-z]+", text.casefold()))


def _plain(text: str) -> Fraction | None:
    found = _PLAIN.fullmatch(text.strip(" $"))
    if found is None:
        return None
    over, under = (found[2] or found[4] or found[6].replace(",", "")), found[3] or found[5] or "1"
    if int(under) == 0:
        return None
    value = Fraction(over) / int(under) / (100 if found[7] else 1)
    return -value if found[1] == "-" else value
