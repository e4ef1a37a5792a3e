"""Problem sets: where questions come from. `load("gsm8k:test")` is the one door to all of them.

A problem set is a function `(split, n, seed) -> list[Problem]`. With n = None it returns all that the split
holds (a generated set: as many as it sees fit). For equal arguments it returns equal problems, and the first
n of a larger draw with the same seed, so that asking for more only adds.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from rewards.registry import Entry, Registry
from rewards.types import Problem

ProblemSet = Callable[[str, int | None, int], list[Problem]]


class ProblemSetError(ValueError):
    """A problem set cannot be had: no such split, no such file, a broken row, no way to the hub. One line."""


PROBLEMS: Registry[ProblemSet] = Registry(
    "problem set",
    {
        "word_problems": "eval.problems.words:word_problems",
        "programs": "eval.problems.programs:programs",
        "long_word_problems": "eval.problems.long:long_word_problems",
        "needle": "eval.problems.needle:needle",
        "countdown": "eval.problems.countdown:countdown",
        "little_countdown": "eval.problems.countdown:little_countdown",
        "gsm8k": "eval.problems.gsm8k:gsm8k",
        "math500": "eval.problems.math500:math500",
        "humaneval": "eval.problems.humaneval:humaneval",
        "mbpp": "eval.problems.mbpp:mbpp",
    },
    entry_points="retort.problems",
)


def resolve(reference: str, *, base: Path | None = None) -> tuple[Entry[ProblemSet], str]:
    """The problem set and the split that "name:split" means.

    The name may also be "module:attribute" or "path/to/file.py:attribute". Relative files start from
    `base`. Nothing is imported or read. Raises ProblemSetError where the split is missing, and RegistryError
    where the name is unknown.
    """
    name, _, split = reference.rpartition(":")
    if name.endswith(".py"):
        raise ProblemSetError(f"problem set {reference!r} does not say which split: write {reference}:test")
    if not name or not split.isidentifier():
        example = split if split in PROBLEMS else name if name in PROBLEMS else "gsm8k"
        raise ProblemSetError(f"problem set {reference!r} is not written name:split, such as {example}:test")
    return PROBLEMS.resolve(name, base=base), split


def load(reference: str, n: int | None = None, seed: int = 0, *, base: Path | None = None) -> list[Problem]:
    """The problems that a reference names: "gsm8k:test", "sets/mine.py:riddles:test", or rows of
    "mine.jsonl".

    A `.jsonl` file alone is taken whole; with ":train" or ":test" it is split by skeleton (see
    eval.problems.files). Problem ids are unique. Raises ProblemSetError or RegistryError in one line, also
    where there are fewer than n.
    """
    if n is not None and n < 1:
        raise ProblemSetError(f"{reference}: the number of problems must be at least 1, not {n}")
    file, _, part = reference.partition(".jsonl")
    if file != reference and part in ("", ":train", ":test"):
        from eval.problems.files import own_file

        problems = own_file((base or Path.cwd()) / Path(f"{file}.jsonl").expanduser(), part[1:], n, seed)
    else:
        entry, split = resolve(reference, base=base)
        problems = entry.load()(split, n, seed)
    if n is not None and len(problems) != n:
        raise ProblemSetError(f"{reference} holds {len(problems)} problems; {n} were asked for")
    twice = [id_ for id_, count in Counter(problem.id for problem in problems).items() if count > 1]
    if twice:
        raise ProblemSetError(f"{reference}: {len(twice)} problem ids are not unique, such as {twice[0]!r}")
    if not problems:
        raise ProblemSetError(f"{reference} holds no problems")
    return problems


def set_names(references: Iterable[str]) -> dict[str, str]:
    """What each reference is called in a report: the set's name, with its split where two of them are of one set."""
    names = {reference: reference.rpartition(":")[0] or reference for reference in references}
    taken = Counter(names.values())
    return {reference: name if taken[name] == 1 else reference for reference, name in names.items()}


def require_split(name: str, split: str, known: tuple[str, ...] = ("train", "test")) -> None:
    """Raise ProblemSetError, naming the splits there are, unless `split` is one of `known`."""
    if split not in known:
        choices = " or ".join(f"{name}:{choice}" for choice in known)
        raise ProblemSetError(f"problem set {name!r} has no split {split!r}; write {choices}")
