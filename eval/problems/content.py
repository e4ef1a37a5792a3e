"""What a problem set holds, as a hash, for sets whose problems are read from somewhere or made by anyone's code."""

from pathlib import Path

from eval.errors import ProblemSetError
from eval.problems import load, own_rows, resolve
from eval.problems.data_folder import is_in_data_folder
from eval.problems.registry import PUBLISHED
from eval.protocol import plain, sha256_of
from rewards.grade import own_verifiers
from rewards.types import Problem


def content(reference: str, n: int | None, seed: int, *, base: Path | None = None) -> str | None:
    """SHA-256 of the problems that `load` gives for the same arguments, and of the verifiers of the user's own that
    they name: what decides a score over them, however a plug-in came by it.

    None for what is built in and made from a seed, and for a benchmark that would have to be downloaded. Raises
    ProblemSetError and RegistryError as `load` does, and ProblemSetError for a set that does not give the same
    problems twice.
    """
    own = own_rows(reference) is not None
    entry, split = (None, "") if own else resolve(reference, base=base)
    if entry is not None and entry.origin == "built-in" and not _is_at_hand(entry.name, split):
        return None
    found = _hash(load(reference, n, seed, base=base), base)
    if entry is not None and entry.origin != "built-in" and found != _hash(load(reference, n, seed, base=base), base):
        raise ProblemSetError(f"{reference} gives other problems when it is asked again with the same seed; "
                              "draw them with random.Random(seed)")
    return found


def _is_at_hand(name: str, split: str) -> bool:
    return name in PUBLISHED and is_in_data_folder(name, split)


def _hash(problems: list[Problem], base: Path | None) -> str:
    verifiers = own_verifiers((problem.verifier for problem in problems), base=base)
    rows = [[p.id, p.prompt, plain(p.answer), p.verifier, p.family, p.skeleton, plain(p.meta)] for p in problems]
    return sha256_of([rows, verifiers])
