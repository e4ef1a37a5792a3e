"""The one grader: training, rejection sampling, evaluation and `retort grade` all call this."""

import importlib
import reprlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import SupportsFloat

from rewards.conventions.bind import SHAPES
from rewards.conventions.verdicts import verifier_of
from rewards.foreign import calling
from rewards.registry import Registry, RegistryError
from rewards.types import Completion, Label, Problem, Verdict

Verifier = Callable[[Problem, Completion], Verdict]

VERIFIERS: Registry[Verifier] = Registry(
    "verifier",
    {"math": "rewards.math:verify", "code": "rewards.code:verify", "countdown": "rewards.countdown:verify",
     "choice": "rewards.choice:verify", "gym": "rewards.gym:verify"},
    entry_points="retort.verifiers",
    prefixes=tuple(SHAPES),
)

_KNOW_THEIR_ANSWERS = ("choice", "code", "countdown")

# Resolving a name looks at files and installed distributions: once for a verifier, and not once for a completion.
_loaded: dict[tuple[Path | None, str], tuple[Verifier, bool]] = {}


def grade(problem: Problem, completion: Completion) -> Verdict:
    """What the problem's own verifier finds, with the seconds it took. Never raises for what a model wrote.

    A completion without an answer is TRUNCATED where its token budget ended, and NO_ANSWER where it ended by itself.
    A verifier that fails gives UNGRADABLE. Raises RegistryError where the problem names an unknown verifier.
    """
    verifier, built_in = _verifier(problem.verifier)
    start = time.perf_counter()
    try:
        if built_in:
            verdict = verifier(problem, completion)
        else:
            with calling(f"verifier {problem.verifier!r}, for problem {problem.id!r},"):
                verdict = _checked(verifier(problem, completion))
    except RegistryError:
        raise  # a verifier may look a plug-in up by a name from the problem; a wrong one is no completion's fault
    except (Exception, SystemExit) as error:  # anyone's code, whose failure is a verdict of its own
        verdict = Verdict(Label.UNGRADABLE, None, f"the verifier failed: {type(error).__name__}: {error}"[:300])
    label = verdict.label
    # Here and for all verifiers alike, so that none of them has to know about token budgets.
    if label is Label.NO_ANSWER and not completion.finished:
        label = Label.TRUNCATED
    seconds = time.perf_counter() - start
    return replace(verdict, label=label, extracted=_whole(verdict.extracted), reason=_whole(verdict.reason) or "",
                   seconds=seconds)


def _whole(text: str | None) -> str | None:
    """The text without halves of surrogate pairs, which a program can raise and no file can hold."""
    return text.encode(errors="replace").decode() if text else text


def unusable(verifier: str, answer: object) -> str:
    """Why a verifier could grade nothing with an answer, which can be told before any work is done; "" where it may, or
    where that is for the verifier itself to say."""
    if verifier not in _KNOW_THEIR_ANSWERS:
        return ""
    return str(importlib.import_module(f"rewards.{verifier}").unusable(answer))


def load_verifiers(problems: Iterable[Problem]) -> None:
    """Load what grades these problems. An unknown verifier is an error before any work is done, and environments of
    verifiers, which want to set what signals do, are made in the thread that calls this: it has to be the main one.
    Raises RegistryError."""
    for name in {problem.verifier for problem in problems}:
        _verifier(name)


def grade_many(pairs: Sequence[tuple[Problem, Completion]], *, jobs: int = 1) -> list[Verdict]:
    """The verdict of every pair, in order. `jobs` gradings run at once, each slow one in a process of its own."""
    load_verifiers(problem for problem, _ in pairs)
    if jobs <= 1 or len(pairs) < 2:
        return [grade(problem, completion) for problem, completion in pairs]
    # Threads are enough: whatever is slow happens in other processes, for which they only wait.
    with ThreadPoolExecutor(jobs) as threads:
        return list(threads.map(lambda pair: grade(*pair), pairs))


def own_verifiers(names: Iterable[str], *, base: Path | None = None) -> dict[str, str]:
    """The hash of each of these verifiers that is not built in, by name (see `Entry.source_hash`): when one changes, so
    may every verdict of it. Raises RegistryError, also for a function of another library that is not of the shape that
    its prefix says."""
    entries = {name: VERIFIERS.resolve(name, base=base) for name in sorted(set(names))}
    for name, entry in entries.items():
        if entry.prefix:
            _verifier(name, base)
    return {name: entry.source_hash() for name, entry in entries.items() if entry.origin != "built-in"}


def verifier(function: Verifier) -> Verifier:
    """Decorator: make a function `(problem, completion) -> Verdict` known as a verifier under its own name."""
    return VERIFIERS.add(function)


def _verifier(reference: str, base: Path | None = None) -> tuple[Verifier, bool]:
    """The verifier, and whether it is built in."""
    key = (base or VERIFIERS.folder, reference)
    if key not in _loaded:
        entry = VERIFIERS.resolve(reference, base=base)
        _loaded[key] = verifier_of(entry) if entry.prefix else entry.load(), entry.origin == "built-in"
    return _loaded[key]


def _checked(given: object) -> Verdict:
    """The verdict of code that is not ours, each part of it of its own type: nothing checked them when it was made.
    "correct" in the place of Label.CORRECT is the same. Raises TypeError or ValueError."""
    if not isinstance(given, Verdict):
        raise TypeError(f"it returned {reprlib.repr(given)} and no Verdict")
    for what, said in (("extracted", given.extracted), ("reason", given.reason)):
        if not isinstance(said, str | None):
            raise TypeError(f"{what!r} of its Verdict is {reprlib.repr(said)}, which is no text")
    share = given.share
    # NaN is in no interval; it would make the advantage of every rollout of its group NaN.
    if share is not None and not (isinstance(share, SupportsFloat) and 0 <= float(share) <= 1):
        raise TypeError(f"'share' of its Verdict is {reprlib.repr(share)}, which is no number in [0, 1]")
    return replace(given, label=Label(given.label), share=None if share is None else float(share))
