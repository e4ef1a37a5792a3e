"""Problem sets: where questions come from. `load("gsm8k:test")` is the one door to all of them.

A problem set is a function `(split, n, seed) -> list[Problem]`. With n = None it returns all that the split
holds (a generated set: as many as it sees fit). For equal arguments it returns equal problems, and the first
n of a larger draw with the same seed, so that asking for more only adds.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from eval.errors import ProblemSetError
from eval.problems import environments
from eval.problems.code import require_format
from eval.problems.data_folder import is_in_data_folder
from eval.problems.files import own_file
from eval.problems.gym import generator, require_gym
from eval.problems.registry import HOLDS, PROBLEMS, PUBLISHED, ProblemSet
from eval.problems.split import require_split
from eval.row_files import ENDINGS
from rewards.foreign import MAKING, calling
from rewards.registry import Entry
from rewards.types import Problem

__all__ = [
    "PROBLEMS", "OwnRows", "ProblemSet", "ProblemSetError", "is_at_hand", "load", "load_sets", "own_rows",
    "require_held", "require_split", "resolve", "set_names",
]

GYM = "gym:"
_ENDINGS = rf"(?:{'|'.join(map(re.escape, ENDINGS))})(?:\.gz|\.bz2|\.xz|\.zst)?"
COLUMNS = ("prompt", "answer", "id", "verifier", "family", "skeleton", "meta")
"""What a row of a user's own file may hold."""
FORMAT = "format"
"""What says in the place of columns that rows are code problems of a published form (eval.problems.code)."""


def resolve(reference: str, *, base: Path | None = None) -> tuple[Entry[ProblemSet], str]:
    """The problem set and the split that "name:split" means.

    The name may also be "gym:NAME" for a generator of reasoning-gym, "verifiers:NAME" for an environment of verifiers,
    "module:attribute" or "path/to/file.py:attribute".
    Relative files start from `base`. Nothing is imported or read. Raises ProblemSetError where the split is missing,
    and RegistryError where the name is unknown.
    """
    name, _, split = reference.rpartition(":")
    # In "sets/mine.py:riddles" what follows the last colon is the function, and the split is missing.
    if name.endswith(".py"):
        raise ProblemSetError(f"problem set {reference!r} does not say which split: write {reference}:test")
    if f"{name}:" in (GYM, environments.PREFIX):
        raise ProblemSetError(f"problem set {reference!r} does not say which split: write {reference}:test")
    if not name or not split.isidentifier():
        example = split if split in PROBLEMS else name if name in PROBLEMS else "gsm8k"
        raise ProblemSetError(f"problem set {reference!r} is not written name:split, such as {example}:test")
    if name.startswith(GYM) and name.removeprefix(GYM).isidentifier():
        # Resolved like a set of a module's own, so that the entry knows the source that a fingerprint hashes.
        entry = PROBLEMS.resolve("eval.problems.gym:generator")
        return replace(entry, name=name, origin="built-in", value=generator(name.removeprefix(GYM))), split
    if name.startswith(environments.PREFIX):
        entry = environments.entry_of(name, PROBLEMS, base)
        return replace(entry, name=name, value=environments.environment(name, entry)), split
    return PROBLEMS.resolve(name, base=base), split


def load(reference: str, n: int | None = None, seed: int = 0, *, base: Path | None = None) -> list[Problem]:
    """The problems that a reference names: "gsm8k:test", "gym:gsm_symbolic:test", "verifiers:gsm8k:test",
    "sets/mine.py:riddles:test", or rows of "mine.jsonl" or "mine.parquet?prompt=question&answer=final".

    A file alone is taken whole; with ":train" or ":test" it is split by skeleton (see eval.problems.files). Problem ids
    are unique. Raises ProblemSetError or RegistryError in one line, also where there are fewer than n.
    """
    if n is not None and n < 1:
        raise ProblemSetError(f"{reference}: the number of problems must be at least 1, not {n}")
    rows = own_rows(reference)
    if rows:
        path = (base or Path.cwd()) / Path(rows.file).expanduser()
        problems = own_file(path, rows.columns, rows.split, n, seed, form=rows.form)
    else:
        entry, split = resolve(reference, base=base)
        made = entry.load()
        with calling(f"problem set {reference!r}", MAKING):
            problems = made(split, n, seed)
    # A score over fewer problems would look like one over those that were asked for.
    if n is not None and len(problems) != n:
        raise ProblemSetError(f"{reference} holds {len(problems)} problems; {n} were asked for")
    # Rollouts are kept, resumed and paired by the id of their problem.
    twice = [id_ for id_, count in Counter(problem.id for problem in problems).items() if count > 1]
    if twice:
        raise ProblemSetError(f"{reference}: {len(twice)} problem ids are not unique, such as {twice[0]!r}")
    if not problems and rows and rows.split:
        raise ProblemSetError(f"{reference}: no row of {rows.file} falls into the split {rows.split}; rows are divided "
                              f"by what they ask, and :{rows.split} left out asks all of them")
    if not problems:
        raise ProblemSetError(f"{reference} holds no problems")
    return problems


def load_sets(
    references: Sequence[str], n: int | None = None, seed: int = 0, *, base: Path | None = None
) -> list[list[Problem]]:
    """The problems of several references. Their ids are unique over all of them: one that an earlier set has, too, gets
    its reference before it. Raises as `load` does, and where a reference is named twice."""
    twice = [reference for reference, count in Counter(references).items() if count > 1]
    if twice:
        raise ProblemSetError(f"problem set {twice[0]} is named twice; name it once")
    sets: list[list[Problem]] = []
    known: set[str] = set()
    for reference in references:
        made = [replace(problem, id=f"{reference}/{problem.id}") if problem.id in known else problem
                for problem in load(reference, n, seed, base=base)]
        known.update(problem.id for problem in made)
        sets.append(made)
    return sets


def require_held(reference: str, n: int | None, *, base: Path | None = None) -> None:
    """Raises ProblemSetError where it is known without making or reading a problem that `load` would: there is no such
    split, or there are fewer than n problems in it. Of a user's own sets and files nothing is known so."""
    if own_rows(reference):
        return
    entry, split = resolve(reference, base=base)
    if entry.origin != "built-in":
        return
    if entry.name.startswith(GYM):
        require_gym(entry.name, split, n)
        return
    held = HOLDS[entry.name]
    require_split(entry.name, split, tuple(held))
    if n is not None and n > held[split] and not is_in_data_folder(entry.name, split):
        raise ProblemSetError(f"{reference} holds {held[split]:,} problems; {n:,} were asked for")


def is_at_hand(reference: str, *, base: Path | None = None) -> bool:
    """Whether `load` needs nothing but this machine for a reference that `require_held` lets pass."""
    if own_rows(reference):
        return True
    entry, split = resolve(reference, base=base)
    return entry.name not in PUBLISHED or entry.origin != "built-in" or is_in_data_folder(entry.name, split)


class OwnRows(NamedTuple):
    """A user's own file of rows, what its columns are called, the split ("" for all), and the form of its rows where
    the reference says it."""

    file: str
    columns: Mapping[str, str]
    split: str
    form: str = ""


def own_rows(reference: str) -> OwnRows | None:
    """The file that a reference means, like "mine.parquet?prompt=question&answer=final:test" or
    "mine.jsonl?format=apps"; None where it means none.

    Raises ProblemSetError where what follows the question mark is neither a map of columns nor a format.
    """
    match = re.fullmatch(rf"(.+(?i:{_ENDINGS}))(?:\?(.*?))?(?::(train|test))?", reference)
    if match is None:
        return None
    file, told, split = match.groups()
    columns: dict[str, str] = {}
    if told and told.startswith(f"{FORMAT}="):
        form = told.removeprefix(f"{FORMAT}=")
        require_format(form)
        return OwnRows(file, columns, split or "", form)
    for pair in told.split("&") if told else []:
        ours, sign, theirs = pair.partition("=")
        if not (sign and theirs) or ours not in COLUMNS:
            raise ProblemSetError(f"{reference}: {pair!r} is no column; write {file}?prompt=question&answer=final, of "
                                  f"{', '.join(COLUMNS)}, or {file}?format=apps and no columns")
        columns[ours] = theirs
    return OwnRows(file, columns, split or "")


def set_names(references: Iterable[str]) -> dict[str, str]:
    """What each reference is called in a report: the set's name, or the file's, with the split where that is not what
    the name alone says (a set's `test`, all rows of a file), and the whole reference where two of them would be called
    alike."""
    names = {}
    for reference in references:
        own = own_rows(reference)
        if own:
            names[reference] = f"{own.file}:{own.split}" if own.split else own.file
        else:
            names[reference] = reference.removesuffix(":test")
    taken = Counter(names.values())
    return {reference: name if taken[name] == 1 else reference for reference, name in names.items()}
