"""Token rows for supervised training: ids with a weight each, padded into batches."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol  # rows hold lists of integers and of floats under their names

from eval.answer_formats import OPEN
from eval.answer_reader import AnswerReader
from eval.assistant_turns import encode_completions, encode_texts
from eval.chat_template import OWN_TEMPLATE
from eval.language_model import Tokenizer
from eval.prompts import PLAIN, encode_prompts
from eval.protocol import Effort, Prompting
from pipeline.contract.dataset import ALL, Selection, records
from pipeline.contract.effort import EffortBudgets
from pipeline.contract.errors import StageError
from pipeline.data.chat import Conversation, Conversations, Encoded, Unfit
from pipeline.disk.durable import JsonMapping, JsonObject
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
    """One text to train on: a prompt (None for a text without one) and what follows it, of which the characters in
    `not_learned`, from and to, are not learned."""

    prompt: str | None
    text: str
    not_learned: Sequence[Sequence[int]] = ()


def document(record: JsonMapping) -> Document | Conversation:
    """What a record of a dataset (see `contract.dataset.records`) has to train on."""
    if "messages" in record:
        return Conversation(record["messages"], record.get("tools"))
    return Document(record["prompt"], record["completion"], record.get("not_learned") or ())


class Encoder:
    """Token ids of documents and conversations, with which of them are learned. With `efforts` each document is asked
    with the effort that holds its thinking, and `asked` counts them by effort."""

    def __init__(self, tokenizer: Tokenizer, how: Prompting = PLAIN, efforts: EffortBudgets | None = None) -> None:
        self._tokenizer, self._how, self._efforts = tokenizer, how, efforts
        self.asked: Counter[Effort] = Counter()

    @cached_property
    def _reader(self) -> AnswerReader:
        return AnswerReader(self._tokenizer)

    @cached_property
    def _begin_of_texts(self) -> list[int]:
        """What a text without a prompt begins with: what the tokenizer itself puts in front of one, which may be less
        than its `bos_token` (SmolLM2's opens a turn of a chat). The models of `pretrain` know texts that begin as its
        template does alone, and its tokenizer puts nothing in front."""
        first = self._tokenizer.bos_token_id
        if self._tokenizer.chat_template == OWN_TEMPLATE and first is not None:
            return [first]
        begun = self._tokenizer("a", return_special_tokens_mask=True)
        pairs = zip(begun["input_ids"], begun["special_tokens_mask"], strict=True)
        return [id_ for id_, special in itertools.takewhile(lambda pair: pair[1], pairs)]

    @cached_property
    def _conversations(self) -> Conversations:
        return Conversations(self._tokenizer, self._how)

    def encode(self, documents: Sequence[Document | Conversation]) -> list[Encoded | Unfit]:
        """Of each its ids, or why there are none. Raises StageError where the tokenizer has no chat template for
        conversations."""
        texts = [document for document in documents if isinstance(document, Document)]
        talks = [document for document in documents if isinstance(document, Conversation)]
        if talks and self._efforts:
            raise StageError("effort sorts rows of prompt and completion by their thinking, and some rows here are "
                             "messages; leave effort out")
        if any(document.not_learned for document in texts) and not self._tokenizer.is_fast:
            raise StageError("the tokenizer does not tell which characters a token stands for, which rows with "
                             "not_learned need")
        plain, said = iter(self._texts(texts)), iter(self._conversations.encode(talks) if talks else [])
        return [next(plain) if isinstance(document, Document) else next(said) for document in documents]

    def _texts(self, documents: Sequence[Document]) -> list[Encoded | Unfit]:
        """One without a prompt is learned whole."""
        asked = [(document.prompt, document.text) for document in documents if document.prompt is not None]
        pairs = iter(self._asked(asked, self._how) if self._efforts is None else self._with_efforts(asked))
        bodies = [document.text for document in documents if document.prompt is None]
        texts = iter(encode_texts(self._tokenizer, bodies))
        made: list[Encoded | Unfit] = []
        for document in documents:
            head, tail = (self._begin_of_texts, next(texts)) if document.prompt is None else next(pairs)
            made.append(self._joined(head, tail, document))
        return made

    def _joined(self, head: list[int], tail: list[int], document: Document) -> Encoded | Unfit:
        """The ids of a prompt and of what follows it, of which some may not be learned."""
        parts = [(tail, True)] if not document.not_learned else self._parts(document, tail)
        if parts is None:
            return Unfit("template", "the chat template changes the completion, so that what is not to be learned of "
                         "it cannot be found")
        ids, learned, silent = [*head], [False] * len(head), list[int]()
        for part, counts in parts:
            if not counts:
                silent += [len(ids), len(ids) + len(part)]
            ids += part
            learned += [counts] * len(part)
        return Encoded(ids, learned, silent)

    def _parts(self, document: Document, tail: list[int]) -> list[tuple[list[int], bool]] | None:
        """The tokens of a completion in parts that are learned and that are not; None where the completion is not found
        in them as it was given."""
        # A prompt may have opened the thinking, which is then not written again.
        for left_out in ("", OPEN):
            if not document.text.startswith(left_out):
                continue
            text = document.text.removeprefix(left_out)
            encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ids: list[int] = encoded["input_ids"]
            if tail[: len(ids)] != ids:
                continue
            spans = [(max(0, begin - len(left_out)), max(0, end - len(left_out)))
                     for begin, end in document.not_learned]
            parts = self._apart(text, spans)
            if self._decoded([one for part, _ in parts for one in part]) != self._decoded(ids):
                # A tokenizer that begins every text with a space: tokens stay, and what straddles is not learned.
                parts = [([one], not any(first < end and begin < last for first, last in spans))
                         for one, (begin, end) in zip(ids, encoded["offset_mapping"], strict=True)]
            return [*parts, (tail[len(ids) :], True)]
        return None

    def _apart(self, text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[list[int], bool]]:
        """The text in parts, each encoded alone, as model and tools wrote them: a token that held the end of a call and
        the beginning of what a tool said would be learned by nobody."""
        borders = [0, *(border for span in spans for border in span), len(text)]
        inside = [self._tokenizer(text[begin:end], add_special_tokens=False)["input_ids"] if begin < end else []
                  for begin, end in itertools.pairwise(borders)]
        return [(ids, place % 2 == 0) for place, ids in enumerate(inside)]

    def _decoded(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _asked(self, asked: Sequence[tuple[str, str]], how: Prompting) -> list[tuple[list[int], list[int]]]:
        """Token ids of prompts and of what follows them."""
        prompts = [prompt for prompt, _ in asked]
        heads = encode_prompts(self._tokenizer, prompts, how)
        tails = encode_completions(self._tokenizer, prompts, [text for _, text in asked], how)
        return list(zip(heads, tails, strict=True))

    def _with_efforts(self, asked: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """The same, each prompt with the effort that holds the thinking which follows it."""
        efforts = [self._effort_of(text) for _, text in asked]
        self.asked.update(efforts)
        made: dict[int, tuple[list[int], list[int]]] = {}
        for effort in set(efforts):
            places = [place for place, one in enumerate(efforts) if one == effort]
            pairs = self._asked([asked[place] for place in places], self._how.asking(effort))
            made |= dict(zip(places, pairs, strict=True))
        return [made[place] for place in range(len(asked))]

    def _effort_of(self, text: str) -> Effort:
        assert self._efforts is not None
        ids = self._tokenizer(self._reader.format.write(text), add_special_tokens=False)["input_ids"]
        return self._efforts.fitting(self._reader.thinking_tokens(ids, opened=False))


def rows(
    tokenizer: Tokenizer, documents: Sequence[Document | Conversation], prompt_weight: float = 0.0,
    how: Prompting = PLAIN,
) -> list[Row]:
    """{"input_ids", "weights"} of each document, both [seq]. Raises StageError where one cannot be trained on."""
    made: list[Row] = []
    for number, encoded in enumerate(Encoder(tokenizer, how).encode(documents), 1):
        if isinstance(encoded, Unfit):
            raise StageError(f"text {number}: {encoded.said}")
        weights = [1.0 if one else prompt_weight for one in encoded.learned]
        made.append({"input_ids": encoded.ids, "weights": silenced(weights, encoded.silent)})
    return made


def silenced(weights: list[float], silent: Sequence[int]) -> list[float]:
    """The weights, 0 in spans: what tools wrote is no prompt, and has no weight where prompts have some."""
    for begin, end in zip(silent[::2], silent[1::2], strict=True):
        weights[begin:end] = [0.0] * (min(end, len(weights)) - min(begin, len(weights)))
    return weights


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
            block = list(itertools.islice(self.documents, BLOCK))
            encoded = rows(self.tokenizer, block, self.prompt_weight, self.how) if block else []
            # Longer texts are left out and not cut: a cut solution teaches to stop in the middle.
            fitting = [row for row in encoded if len(row["input_ids"]) <= self.length]
            if not fitting:
                raise StageError(f"none of {len(block)} texts is at most {self.length} tokens long")
            self.made += fitting
        return self.made[index]


class Joined:
    """The rows of several streams one after the other; a stream is not begun before one of its rows is asked for."""

    def __init__(self, streams: Sequence[Rows]) -> None:
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


def read_rows(path: Path, selection: Selection = ALL) -> list[JsonObject]:
    """The records of a dataset (see `contract.dataset.records`) in a list. Raises StageError as it does."""
    return list(records(path, selection))
