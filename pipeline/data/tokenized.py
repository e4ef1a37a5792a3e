"""A dataset as token ids in a file, made once and read row by row from the disk, however large it is.

It lies in a folder that is named by all that the ids depend on: the rows' files, which rows are meant, the tokenizer
with its template and the version of this code. It is part of no result: removed or torn, it is made again.
"""

import bisect
import hashlib
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from eval.language_model import Tokenizer
from eval.prompts import PLAIN
from eval.protocol import Prompting
from eval.row_files import BadRow
from pipeline.contract.dataset import ALL, FILE, Selection, bad_row, placed
from pipeline.contract.dataset.forms import text_of
from pipeline.contract.effort import EffortBudgets
from pipeline.contract.errors import StageError
from pipeline.data.chat import Encoded, Unfit
from pipeline.data.rows import Encoder, Row, document, silenced
from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.disk.made import made_once
from pipeline.recipe import inputs
from rewards.lazy import lazy

with lazy:
    import pyarrow
    import tokenizers
    import transformers

VERSION = 5
"""Raised when the same rows get other ids, or the file another form."""

_BLOCK = 512
_CHARACTERS = 2**22
"""How many rows, or how much of their text, is encoded at once."""

_TOLD = 50_000
"""Rows after which a person who waits is told how far it is."""

_ROWS, _ABOUT = "rows.arrow", "about.json"


@dataclass(frozen=True)
class Wanted:
    """Which rows, and how they are put: of a place those of a selection, the first `limit`; bad ones are an error, or
    left out with `drop`. With `efforts` each is asked with the effort that holds its thinking."""

    path: Path
    selection: Selection = ALL
    how: Prompting = PLAIN
    limit: int | None = None
    drop: bool = False
    efforts: EffortBudgets | None = None


class Tokenized:
    """Rows of token ids by number: of each its length, and where the first token stands that is learned and has one
    before it; and in `numbers` which row of the selection it is. `dropped` counts bad rows by reason, `first_dropped`
    tells of the first one, `efforts` counts rows by the effort that they are asked with, `without_thinking` turns that
    are not learned since the chat template leaves their thinking out."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError or ValueError where the folder holds no whole file of rows."""
        about = durable.read_json(folder / _ABOUT)
        file = folder / _ROWS
        with file.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != about["sha256"]:
                raise ValueError("not the bytes that were written")
        table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(file))).read_all()  # mapped, and not in memory
        self._ids, self._spans, self._silent = (_Lists(table[name]) for name in ("ids", "spans", "silent"))
        self.lengths: Sequence[int] = table["length"].to_pylist()
        self.first_learned: Sequence[int] = table["first_learned"].to_pylist()
        self.numbers: Sequence[int] = table["number"].to_pylist()
        self.dropped = Counter(about["dropped"])
        self.first_dropped = str(about["first_dropped"])
        self.efforts: dict[str, int] = about.get("efforts", {})
        self.without_thinking = int(about["without_thinking"])

    def __len__(self) -> int:
        return len(self.lengths)

    def row(self, number: int, prompt_weight: float, most: int) -> Row:
        """A row, of which at most so many tokens are taken."""
        ids, spans = self._ids[number][:most], self._spans[number]
        weights = [prompt_weight] * len(ids)
        for begin, end in zip(spans[::2], spans[1::2], strict=True):
            weights[begin:end] = [1.0] * (min(end, len(ids)) - min(begin, len(ids)))
        return {"input_ids": ids, "weights": silenced(weights, self._silent[number])}


class _Lists:
    """A column of lists of integers, each read from the file when it is asked for."""

    def __init__(self, column: "pyarrow.ChunkedArray") -> None:
        self._chunks = [(chunk.offsets.to_numpy(), chunk.values.to_numpy()) for chunk in column.chunks]
        self._starts = list(itertools.accumulate((len(offsets) - 1 for offsets, _ in self._chunks), initial=0))

    def __getitem__(self, number: int) -> list[int]:
        place = bisect.bisect_right(self._starts, number) - 1
        offsets, values = self._chunks[place]
        inside = number - self._starts[place]
        found: list[int] = values[offsets[inside] : offsets[inside + 1]].tolist()
        return found


def tokenized(cache: Path, tokenizer: Tokenizer, wanted: Wanted, note: Callable[[str], None]) -> Tokenized:
    """The rows, from `cache` where they are there. Processes that want the same at once wait for the one that makes it.

    Raises StageError for a bad row that is not to be dropped, where none is left, and where `cache` cannot be written.
    """
    folder = cache / _fingerprint(tokenizer, wanted)
    torn = (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException)
    try:
        return made_once(folder, Tokenized, lambda making: _write(making, tokenizer, wanted, note), torn)
    except OSError as error:
        raise StageError(f"rows of token ids cannot be kept in {cache} ({error.strerror or error})") from error


def require_first(tokenizer: Tokenizer, wanted: Wanted, count: int) -> None:
    """Raises StageError where the first `count` rows cannot be put as `tokenized` will: what is wrong with a template
    is so from the first row on."""
    first = replace(wanted, limit=min(count, wanted.limit or count))
    for _ in _encoded(Encoder(tokenizer, first.how, first.efforts), first, _Dropped(first)):
        pass


def _fingerprint(tokenizer: Tokenizer, wanted: Wanted) -> str:
    # Of an artifact its rows alone: the rest of its folder says nothing of them.
    path = wanted.path / FILE if (wanted.path / FILE).is_file() else wanted.path
    parts = {
        "version": VERSION, "content": _of_content(path), "selection": asdict(wanted.selection), "limit": wanted.limit,
        "prompting": asdict(wanted.how), "drop": wanted.drop, "tokenizer": _of_tokenizer(tokenizer),
        "efforts": wanted.efforts and wanted.efforts.budgets(),
        "libraries": [tokenizers.__version__, transformers.__version__],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _of_content(path: Path) -> str:
    try:
        return inputs.fingerprint_of_path(path)
    except OSError as error:
        raise StageError(f"{path} cannot be read ({error.strerror or error})") from error


def _of_tokenizer(tokenizer: Tokenizer) -> str:
    """A hash of all that it saves: its vocabulary, its special tokens and its template."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        total = hashlib.sha256()
        for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            total.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return total.hexdigest()


def _write(making: Path, tokenizer: Tokenizer, wanted: Wanted, note: Callable[[str], None]) -> None:
    dropped = _Dropped(wanted)
    # Of what is learned, and of what has not even a prompt's weight, from and to which token, span after span.
    lists = pyarrow.list_(pyarrow.int32())
    schema = pyarrow.schema({
        "ids": lists, "spans": lists, "silent": lists, "length": pyarrow.int32(), "first_learned": pyarrow.int32(),
        "number": pyarrow.int64(),
    })
    count = without_thinking = 0
    with pyarrow.OSFile(str(making / _ROWS), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        encoder = Encoder(tokenizer, wanted.how, wanted.efforts)
        for encoded in _encoded(encoder, wanted, dropped):
            writer.write_batch(pyarrow.RecordBatch.from_pylist([_kept(*one) for one in encoded], schema))
            before, count = count, count + len(encoded)
            without_thinking += sum(one.without_thinking for _, one in encoded)
            if count // _TOLD > before // _TOLD:
                note(f"{count:,} rows are token ids")
    if not count:
        raise StageError(f"no row of {wanted.path} can be used, such as {dropped.first}")
    with (making / _ROWS).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    durable.sync_files(making)
    durable.write_json(making / _ABOUT, {
        "sha256": digest, "rows": count, "dropped": dict(dropped.reasons), "first_dropped": dropped.first,
        "efforts": dict(encoder.asked), "without_thinking": without_thinking,
    })


class _Dropped:
    """The bad rows that were left out."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.reasons: Counter[str] = Counter()
        self.first = ""

    def add(self, bad: BadRow) -> None:
        if not self._wanted.drop:
            raise bad_row(bad)
        self.reasons[bad.reason] += 1
        self.first = self.first or bad.message


def _encoded(encoder: Encoder, wanted: Wanted, dropped: _Dropped) -> Iterator[list[tuple[int, Encoded]]]:
    """The rows in blocks, each with its number among all of the selection. Raises StageError."""
    found = placed(wanted.path, wanted.selection, dropped.add if wanted.drop else None)
    numbers = itertools.count()
    for block in _blocks(itertools.islice(found, wanted.limit)):
        made: list[tuple[int, Encoded]] = []
        rows = encoder.encode([document(record) for _, record in block])
        # The numbers go on in the next block, and so stand last: what is before them ends first.
        for (where, _), encoded, number in zip(block, rows, numbers, strict=False):
            if isinstance(encoded, Unfit):
                dropped.add(BadRow(encoded.reason, f"{where}: {encoded.said}"))
            else:
                made.append((number, encoded))
        yield made


def _blocks(found: Iterator[tuple[str, JsonObject]]) -> Iterator[list[tuple[str, JsonObject]]]:
    block: list[tuple[str, JsonObject]] = []
    characters = 0
    for where, record in found:
        block.append((where, record))
        characters += len(text_of(record))
        if len(block) == _BLOCK or characters >= _CHARACTERS:
            yield block
            block, characters = [], 0
    if block:
        yield block


def _kept(number: int, encoded: Encoded) -> Mapping[str, object]:
    # The first token of a row follows nothing, and so is never learned.
    first = next((place for place, one in enumerate(encoded.learned) if one and place), len(encoded.ids))
    padded = [False, *encoded.learned, False]
    spans = [place for place in range(len(padded) - 1) if padded[place] != padded[place + 1]]
    return {"ids": encoded.ids, "spans": spans, "silent": encoded.silent, "length": len(encoded.ids),
            "first_learned": first, "number": number}
