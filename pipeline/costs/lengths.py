"""How many rows and tokens there are: counted where they lie here, reckoned from assumptions where they do not."""

import re
import tempfile
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from eval.errors import ProblemSetError
from eval.problems import load
from eval.protocol import Prompting
from eval.row_files import is_row_file
from eval.row_files.opening import is_compressed, opened, without_compression
from eval.shots import shots_of
from pipeline.contract import dataset
from pipeline.contract.dataset.forms import text_of
from pipeline.contract.errors import StageError
from pipeline.contract.room import limit_of
from pipeline.contract.stage import stage_seed
from pipeline.contract.work import Drawn, Trained
from pipeline.costs.lineage import Lineage
from pipeline.data.tokenized import Wanted, tokenized
from pipeline.disk.durable import JsonObject
from pipeline.recipe.recipe import Step
from rewards.lazy import lazy
from rewards.registry import RegistryError

with lazy:
    from pyarrow import parquet

READ = 2**25
"""Bytes of a dataset up to which every row is encoded; of a larger one the first `SOME` are."""
SOME = 1_000

TEMPLATE = 12
"""Tokens that a template puts around a question, or around another turn."""

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")


@dataclass(frozen=True)
class Rows:
    """Their number, their tokens on the mean, and those of the longest that was seen."""

    count: float
    mean: float
    longest: float


def tokens_of(text: str, characters: float) -> float:
    """About how many tokens a text has, where no tokenizer is at hand: so many characters each, but at least one for
    each word, digit and mark, of which a text that calculates has one every two or three characters."""
    return max(len(text) / characters, len(_PIECES.findall(text)))


@dataclass(frozen=True)
class Asked:
    """Problems of a round, and tokens of their prompts on the mean."""

    problems: int
    prompt: float


def rows_of(lineage: Lineage, step: Step, trained: Trained) -> Rows:
    """The rows that a training reads, once. Raises StageError where they are not at hand."""
    if trained.shares:
        parts = {data: rows_of(lineage, step, replace(trained, data=data, shares={})) for data in trained.shares}
        mean = sum(share * parts[data].mean for data, share in trained.shares.items())
        return Rows(sum(part.count for part in parts.values()), mean, max(part.longest for part in parts.values()))
    assumed = lineage.assumed
    longest = trained.length or _context(lineage, step, trained)
    source = step.sources[trained.data] if trained.data else None
    if source is None or (source.origin == "hub" and trained.steps):
        # A stage that says how many steps it makes goes round its data as often as it has to.
        return Rows((trained.steps or 1) * trained.batch, max(1.0, longest * assumed.filled), longest)
    if source.origin == "stage":
        rows = _of_stage(lineage, lineage.recipe.steps[source.reference])
    elif source.path is not None:
        rows = _of_file(lineage, step, trained, source.path)
    else:
        raise StageError(f"the rows of {trained.data} are on the hub, and are not read for a plan; give a local copy")
    count = rows.count if trained.limit is None else min(rows.count, trained.limit)
    return Rows(count, min(rows.mean, longest), min(rows.longest, longest))


def asked_of(lineage: Lineage, step: Step, drawn: Drawn) -> Asked:
    """The problems that a drawing asks at once."""
    # Every stage that asks problems has a room.
    room = step.config.room()
    characters = lineage.assumed.characters
    count, lengths = 0, []
    for asks in step.config.asks(stage_seed(lineage.recipe.seed, step.name)):
        if asks.purpose == "shown":
            continue
        try:
            problems = load(asks.reference, asks.n, asks.seed, base=lineage.recipe.folder)
            shots = shots_of(asks.reference, room.shots if room else 0, base=lineage.recipe.folder)
        except (ProblemSetError, RegistryError):  # not at hand, such as one of the hub's
            count += asks.n or SOME
            continue
        count += len(problems)
        shown = sum(TEMPLATE + tokens_of(text, characters) for shot in shots for text in shot)
        lengths += [shown + tokens_of(problem.prompt, characters) for problem in problems[:SOME]]
    said = f"{room.prompting.system or ''}\n{room.prompting.instruction or ''}" if room else ""
    around = TEMPLATE + tokens_of(said, characters)
    mean = sum(lengths) / len(lengths) + around if lengths else lineage.assumed.prompt
    return Asked(drawn.prompts or max(1, count), mean)


def _context(lineage: Lineage, step: Step, trained: Trained) -> int:
    config = lineage.made(step) if trained.model is None else lineage.config(step, trained.model)
    return limit_of(config) or lineage.assumed.context


def _of_stage(lineage: Lineage, maker: Step) -> Rows:
    """What a stage that samples keeps."""
    work = maker.config.work()
    if work is None or work.rows is None or not work.drawn:
        raise StageError(f"{maker.name} does not say how many rows it makes")
    drawn = work.drawn[0]
    prompt = asked_of(lineage, maker, drawn).prompt
    mean = prompt + drawn.most * lineage.assumed.completion
    return Rows(max(1.0, work.rows * lineage.assumed.kept), mean, prompt + drawn.most)


def _of_file(lineage: Lineage, step: Step, trained: Trained, path: Path) -> Rows:
    selection = dataset.parse(str(trained.data)).selection
    files = [file for file in (path.rglob("*") if path.is_dir() else path.parent.glob(path.name)) if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    limit = trained.limit if size <= READ else min(trained.limit or SOME, SOME)
    tokenizer = None if trained.model is None else lineage.tokenizer(step, trained.model)
    if tokenizer is not None:
        with tempfile.TemporaryDirectory() as cache:
            wanted = Wanted(path, selection, trained.prompting, limit, drop=True)
            found = tokenized(Path(cache), tokenizer, wanted, lambda _: None)
            lengths = [float(length) for length in found.lengths]
    else:
        records = islice(dataset.records(path, selection, bad=lambda _: None), limit)
        lengths = [_reckoned(record, trained.prompting, lineage.assumed.characters) for record in records]
    mean = sum(lengths) / len(lengths)
    if size <= READ:
        return Rows(len(lengths), mean, max(lengths))
    texts = [len(text_of(record)) for record in islice(dataset.records(path, selection, bad=lambda _: None), limit)]
    written = sum(texts) / len(texts)
    counted = sum(_rows_in(file, written) for file in files if is_row_file(file.name))
    return Rows(max(float(len(lengths)), counted), mean, max(lengths))


def _reckoned(record: JsonObject, how: Prompting, characters: float) -> float:
    """About how many tokens a row has with what is put around it (`data/chat/conversations.py`)."""
    text = text_of(record)
    turns = record.get("messages")
    if turns is None:
        return tokens_of(text, characters)
    if how.system and turns[0].get("role") != "system":
        turns, text = [None, *turns], f"{how.system}\n{text}"
    return tokens_of(text, characters) + TEMPLATE * len(turns)


def _rows_in(file: Path, row: float) -> float:
    """Of a large file: what Parquet says itself; of others what their text would hold of rows of `row` bytes."""
    if without_compression(file.name).endswith(".parquet"):
        return float(parquet.read_metadata(file).num_rows)
    if not is_compressed(file):
        return file.stat().st_size / row
    with opened(file) as text:
        return sum(map(len, iter(lambda: text.read(READ), b""))) / row
