"""Token rows for supervised training: ids with a weight each, padded into batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol  # rows hold lists of integers and of floats under their names

from eval.assistant_turns import encode_completions, encode_texts
from eval.language_model import Tokenizer
from eval.prompts import PLAIN, encode_prompts
from eval.protocol import Prompting
from pipeline.contract.dataset import records
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject
from rewards.lazy import lazy

with lazy:
    import torch


Row = dict[str, list[Any]]
"""{"input_ids": token ids, "weights": of each token in the loss}, both [seq]; datasets wants a plain dict."""


class Rows(Protocol):
    """What can be trained on: rows by number, such as a list of them or a Stream."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Row: ...


BLOCK = 512  # documents encoded at once


@dataclass(frozen=True)
class Document:
    """One text to train on: a prompt (None for a text without one) and what follows it."""

    prompt: str | None
    text: str


def rows(
    tokenizer: Tokenizer, documents: Sequence[Document], prompt_weight: float = 0.0, how: Prompting = PLAIN
) -> list[Row]:
    """{"input_ids", "weights"} of each document, both [seq]. One without a prompt is trained on whole."""
    asked = [(document.prompt, document.text) for document in documents if document.prompt is not None]
    prompts = [prompt for prompt, _ in asked]
    heads = iter(encode_prompts(tokenizer, prompts, how))
    tails = iter(encode_completions(tokenizer, prompts, [text for _, text in asked], how))
    # A text without a prompt begins as every text does that the model will see.
    bare = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    texts = iter(encode_texts(tokenizer, [document.text for document in documents if document.prompt is None]))
    made: list[Row] = []
    for document in documents:
        head, tail = (bare, next(texts)) if document.prompt is None else (next(heads), next(tails))
        made.append({"input_ids": head + tail, "weights": [prompt_weight] * len(head) + [1.0] * len(tail)})
    return made


class Stream:
    """The first `count` rows of an endless supply of documents that are at most `length` tokens long.

    Rows are made as they are asked for, in order: training begins at once, and stopping early costs nothing.
    """

    def __init__(
        self, tokenizer: Tokenizer, documents: Iterator[Document], count: int, length: int, prompt_weight: float = 0.0,
        how: Prompting = PLAIN,
    ) -> None:
        self.tokenizer, self.documents, self.count, self.how = tokenizer, documents, count, how
        self.length, self.prompt_weight = length, prompt_weight
        self.made: list[Row] = []

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(self.count))

    def __getitem__(self, index: int) -> Row:
        while len(self.made) <= index:
            block = list(islice(self.documents, BLOCK))
            encoded = rows(self.tokenizer, block, self.prompt_weight, self.how) if block else []
            # Longer texts are left out and not cut: a cut solution teaches to stop in the middle.
            fitting = [row for row in encoded if len(row["input_ids"]) <= self.length]
            if not fitting:
                raise StageError(f"none of {len(block)} texts is at most {self.length} tokens long")
            self.made += fitting
        return self.made[index]


class Joined:
    """The rows of several streams one after the other; a stream is not begun before one of its rows is asked for."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = streams

    def __len__(self) -> int:
        return sum(len(stream) for stream in self.streams)

    def __getitem__(self, index: int) -> Row:
        for stream in self.streams:
            if index < len(stream):
                return stream[index]
            index -= len(stream)
        raise IndexError("no stream has such a row")


class Collator:
    """Pads rows on the right: input_ids, attention_mask, labels [batch, seq], weights [batch, seq]."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[Row]) -> JsonObject:
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad)
        weights = torch.zeros(len(rows), longest)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for place, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[place, :length] = torch.tensor(row["input_ids"])
            weights[place, :length] = torch.tensor(row["weights"])
            mask[place, :length] = 1
        # What weighs nothing is no label, so that trl does not compute its log-probability.
        labels = ids.masked_fill(weights == 0, -100)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "weights": weights}


def read_rows(path: Path) -> list[JsonObject]:
    """The records of a dataset (see `contract.dataset.records`) in a list. Raises StageError as it does."""
    return list(records(path))
