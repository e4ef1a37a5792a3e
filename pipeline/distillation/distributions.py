"""Teachers' distributions over every learned token of a data set, made once and read from the disk row by row, so that
no teacher is in memory while its student trains.

They lie in a folder that is named by all that they depend on: the rows' tokens, the teachers' files, temperature and
words. Log-probabilities are in half precision, which tells them to one part in two thousand, and are made to sum to 1
again when they are read. The folder is part of no result: removed or torn, it is made again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor

from pipeline.contract.errors import StageError
from pipeline.data.rows import Collator, Row
from pipeline.disk import durable
from pipeline.disk.made import made_once
from pipeline.distillation.teachers import Teachers, Told, Words
from pipeline.training.logprobs import LOGITS
from pipeline.training.placement import own_device

VERSION = 1
"""Raised when the same rows get other distributions, or the files another form."""

_LOG_PROBS, _IDS, _ABOUT = "log_probs.npy", "ids.npy", "about.json"
_AT_ONCE = 2**14
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


class Distributions:
    """Of each row's learned tokens, one after the other."""

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
        """[learned tokens, words], and which words [learned tokens, k]."""
        place = slice(self._begins[row], self._begins[row] + self._counts[row])
        log_probs = torch.from_numpy(self._log_probs[place].astype(np.float32)).log_softmax(dim=-1)
        return Told(log_probs, None if self._ids is None else torch.from_numpy(self._ids[place].astype(np.int64)))


def _begins(counts: Mapping[int, int]) -> dict[int, int]:
    return dict(zip(counts, accumulate(counts.values(), initial=0), strict=False))


def distributions(
    cache: Path, learned: Learned, words: Words, made_by: Mapping[str, object], teachers: Callable[[], Teachers],
    note: Callable[[str], None],
) -> Distributions:
    """Those of `teachers`, which are loaded where they are asked, and are told apart by `made_by`. Raises StageError
    where `cache` cannot be written."""
    parts = {
        "version": VERSION, "rows": learned.digest(), "words": [words.known, words.top_k], **made_by,
        # what rounding comes of
        "threads": torch.get_num_threads(), "device": own_device().type,
        "libraries": [torch.__version__, transformers.__version__],
    }
    name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    counts = learned.counts()

    def write(making: Path) -> None:
        size = sum(counts.values()) * (2 * words.width + 4 * (words.top_k or 0)) / 2**20
        note(f"distributions over {sum(counts.values()):,} tokens of {len(counts):,} rows, {size:,.0f} MiB")
        _write(making, learned, teachers())

    torn = (OSError, ValueError, KeyError, TypeError)
    try:
        return made_once(cache / name, lambda folder: Distributions(folder, counts), write, torn)
    except OSError as error:
        raise StageError(f"teachers' distributions cannot be kept in {cache} ({error.strerror or error})") from error


def _write(folder: Path, learned: Learned, teachers: Teachers) -> None:
    counts, words = learned.counts(), teachers.words
    begins, tokens = _begins(counts), sum(counts.values())
    log_probs = np.lib.format.open_memmap(
        folder / _LOG_PROBS, mode="w+", dtype=np.float16, shape=(tokens, words.width)
    )
    ids = np.lib.format.open_memmap(
        folder / _IDS, mode="w+", dtype=np.int32, shape=(tokens, words.top_k)
    ) if words.top_k else None
    device = own_device()
    teachers.to(device)
    collate = Collator(0)
    for numbers in _parts(learned, words):
        batch = {key: value.to(device) for key, value in collate([learned.rows[one] for one in numbers]).items()}
        chosen: Tensor = batch["labels"][:, 1:] != -100
        told = teachers.told(batch["input_ids"], batch["attention_mask"], chosen)
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


def _parts(learned: Learned, words: Words) -> Sequence[list[int]]:
    """Numbers of rows of similar lengths that are read at once: as many as their logits fit in memory."""
    parts: list[list[int]] = []
    for number in sorted(learned.rows, key=lambda one: -len(learned.rows[one]["input_ids"])):
        longest = len(learned.rows[parts[-1][0]]["input_ids"]) if parts else 0
        if not parts or (len(parts[-1]) + 1) * longest > min(_AT_ONCE, max(longest, LOGITS // words.known)):
            parts.append([])
        parts[-1].append(number)
    return parts
