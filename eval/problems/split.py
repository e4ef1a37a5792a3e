"""Train and test problems are told apart by what they ask, not by how they are worded."""

from hashlib import sha256
from typing import Literal

from eval.errors import ProblemSetError

Split = Literal["train", "test"]


def split_of(skeleton: str, test_share: float = 0.1) -> Split:
    """Which split a skeleton belongs to, by the first 64 bits of its SHA-256.

    The same skeleton lands in the same split in every run, process and version, so a training set and a
    test set made years apart share no skeleton. `test_share` is the expected share of skeletons in "test";
    raising it only moves skeletons from "train" to "test", never back.
    """
    if not 0.0 <= test_share <= 1.0:
        raise ValueError(f"test_share must lie in [0, 1], not {test_share}")
    # Not Python's `hash`, which differs between processes.
    position = int.from_bytes(sha256(skeleton.encode()).digest()[:8], "big") / 2**64
    return "test" if position < test_share else "train"


def require_split(name: str, split: str, known: tuple[str, ...] = ("train", "test")) -> None:
    """Raise ProblemSetError, naming the splits there are, unless `split` is one of `known`."""
    if split not in known:
        choices = " or ".join(f"{name}:{choice}" for choice in known)
        raise ProblemSetError(f"problem set {name!r} has no split {split!r}; write {choices}")
