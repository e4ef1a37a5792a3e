"""Teachers' distributions over every learned token of a data set, made once and read from the disk row by row, so that
no teacher is in memory while its student trains.

They lie in a folder that is named by all that they depend on: the rows' tokens, the teachers' files, temperature and
words. Log-probabilities are in half precision, which tells them to one part in two thousand, and are made to sum to 1
again when they are read. The folder is part of no result: removed or torn, it is made again.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, Self  # numpy's shapes have no types

import numpy as np
import torch
import transformers
from torch import Tensor

from pipeline.contract.errors import StageError
from pipeline.data.rows import Collator, Row
from pipeline.disk import durable
from pipeline.disk.made import made_once
from pipeline.distillation.teachers import Teachers, Told
from pipeline.training.logprobs import LOGITS
from pipeline.training.placement import own_device

VERSION = 2
"""Raised when the same rows get other distributions, or the files another form."""

_LOG_PROBS, _IDS, _ABOUT = "log_probs.npy", "ids.npy", "about.json"
AT_ONCE = 2**14
"""Tokens that teachers read at once."""


@dataclass(frozen=True)
class Learned:
    """Rows by their numbers in a data set, of which the tokens are learned that weigh something and follow another."""

    rows: Mapping[int, Row]

    def counts(self) -> dict[int, int]:
        """The learned tokens of each row."""
        return {number: sum(weight > 0 for weight in row["weights"][1:]) for number, row in self.rows.items()}

    def digest(self) -> str:
        total = hashlib.sha256()
        for number, row in self.rows.items():
            total.update(json.dumps([number, row["input_ids"], [weight > 0 for weight in row["weights"]]]).encode())
        return total.hexdigest()


class Asked(Protocol):
    """What teachers are asked about: rows by their numbers, how much is told of each, and all that this depends on."""

    @property
    def rows(self) -> Mapping[int, Row]: ...
    def counts(self) -> dict[int, int]: ...
    def digest(self) -> str: ...


class Words(Protocol):
    """The words that distributions are over: how many the teachers know, of how many it is told which they are (None
    where it is all), and how many columns a distribution has."""

    @property
    def known(self) -> int: ...
    @property
    def top_k(self) -> int | None: ...
    @property
    def width(self) -> int: ...


class Teller(Protocol):
    """Teachers that tell of what they are asked about."""

    def to(self, device: torch.device) -> Self: ...

    def told(self, numbers: Sequence[int]) -> Told:
        """Of rows by their numbers, one after the other."""
        ...


class Reading:
    """Teachers that read the rows as the student does."""

    def __init__(self, teachers: Teachers, learned: Learned) -> None:
        self._teachers, self._learned = teachers, learned

    def to(self, device: torch.device) -> Self:
        self._teachers.to(device)
        return self

    def told(self, numbers: Sequence[int]) -> Told:
        batch = batch_of(self._learned, numbers)
        chosen: Tensor = batch["labels"][:, 1:] != -100
        return self._teachers.told(batch["input_ids"], batch["attention_mask"], chosen)


def batch_of(asked: Asked, numbers: Sequence[int]) -> dict[str, Tensor]:
    """Rows by their numbers, as of `Collator`, where teachers read them."""
    batch = Collator(0)([asked.rows[one] for one in numbers])
    return {key: value.to(own_device()) for key, value in batch.items()}


class Distributions:
    """Of what is told of each row, one after the other."""

    def __init__(self, folder: Path, counts: Mapping[int, int]) -> None:
        """Raises OSError or ValueError where the folder holds no whole files of these rows."""
        about = durable.read_json(folder / _ABOUT)
        for name, digest in about["sha256"].items():
            with (folder / name).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                    raise ValueError("not the bytes that were written")
        self._log_probs = np.load(folder / _LOG_PROBS, mmap_mode="r")
        self._ids = np.load(folder / _IDS, mmap_mode="r") if _IDS in about["sha256"] else None
        self._counts, self._begins = counts, _begins(counts)

    def of(self, row: int) -> Told:
        """[told, words], and which words [told, k]."""
        place = slice(self._begins[row], self._begins[row] + self._counts[row])
        log_probs = torch.from_numpy(self._log_probs[place].astype(np.float32)).log_softmax(dim=-1)
        return Told(log_probs, None if self._ids is None else torch.from_numpy(self._ids[place].astype(np.int64)))


def _begins(counts: Mapping[int, int]) -> dict[int, int]:
    return dict(zip(counts, accumulate(counts.values(), initial=0), strict=False))


def distributions(
    cache: Path, asked: Asked, words: Words, made_by: Mapping[str, object], teachers: Callable[[], Teller],
    note: Callable[[str], None],
) -> Distributions:
    """Those of `teachers`, which are loaded where they are asked, and are told apart by `made_by`. Raises StageError
    where `cache` cannot be written."""
    parts = {
        "version": VERSION, "rows": asked.digest(), "words": [words.known, words.top_k], **made_by,
        # what rounding comes of
        "threads": torch.get_num_threads(), "device": own_device().type,
        "libraries": [torch.__version__, transformers.__version__],
    }
    name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    counts = asked.counts()

    def write(making: Path) -> None:
        size = sum(counts.values()) * (2 * words.width + 4 * (words.top_k or 0)) / 2**20
        note(f"distributions over {sum(counts.values()):,} tokens of {len(counts):,} rows, {size:,.0f} MiB")
        _write(making, asked, words, teachers())

    torn = (OSError, ValueError, KeyError, TypeError)
    try:
        return made_once(cache / name, lambda folder: Distributions(folder, counts), write, torn)
    except OSError as error:
        raise StageError(f"teachers' distributions cannot be kept in {cache} ({error.strerror or error})") from error


def _write(folder: Path, asked: Asked, words: Words, teachers: Teller) -> None:
    counts = asked.counts()
    begins, tokens = _begins(counts), sum(counts.values())
    log_probs = _mapped(folder / _LOG_PROBS, np.float16, (tokens, words.width))
    ids = _mapped(folder / _IDS, np.int32, (tokens, words.top_k)) if words.top_k else None
    teachers.to(own_device())
    for numbers in _parts(asked, words):
        told = teachers.told(numbers)
        places = np.concatenate([np.arange(begins[one], begins[one] + counts[one]) for one in numbers])
        log_probs[places] = told.log_probs.cpu().numpy().astype(np.float16)
        if ids is not None and told.ids is not None:
            ids[places] = told.ids.cpu().numpy().astype(np.int32)
    sums = {}
    for name, written in ((_LOG_PROBS, log_probs), (_IDS, ids)):
        if written is not None:
            written.flush()
            with (folder / name).open("rb") as stream:
                sums[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    durable.write_json(folder / _ABOUT, {"sha256": sums})
    durable.sync_files(folder)


def _mapped(file: Path, dtype: type[np.generic], shape: tuple[int, int]) -> "np.memmap[Any, Any]":
    """An array in a new file. Raises OSError where, on Linux, the disk has no room for all of it: a file that is only
    as long as it will be finds out page by page, and what writes into a page that has no room is killed."""
    array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    if sys.platform == "linux":
        with file.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    return array


def _parts(asked: Asked, words: Words) -> Sequence[list[int]]:
    """Numbers of rows of similar lengths that are read at once: as many as their logits fit in memory."""
    parts: list[list[int]] = []
    for number in sorted(asked.rows, key=lambda one: -len(asked.rows[one]["input_ids"])):
        longest = len(asked.rows[parts[-1][0]]["input_ids"]) if parts else 0
        if not parts or (len(parts[-1]) + 1) * longest > min(AT_ONCE, max(longest, LOGITS // words.known)):
            parts.append([])
        parts[-1].append(number)
    return parts
