"""Token rows for supervised training: ids with a weight each, padded into batches."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eval.prompts import encode_completion, encode_text
from pipeline.stage import StageError

Row = dict[str, list[Any]]


def row(tokenizer: Any, prompt: str | None, completion: str, prompt_weight: float = 0.0) -> Row:
    """One document: {"input_ids", "weights"}, both [seq]. A text without a prompt is trained on whole."""
    if prompt is None:
        head = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    else:
        head = encode_text(tokenizer, prompt)
    tail = encode_completion(tokenizer, completion)
    return {"input_ids": head + tail, "weights": [prompt_weight] * len(head) + [1.0] * len(tail)}


def dataset(rows: Iterable[Row]) -> Any:
    """A datasets.Dataset of rows, as trl's trainers take it."""
    from datasets import Dataset

    return Dataset.from_list(list(rows))


class Collator:
    """Pads rows on the right: input_ids, attention_mask, labels [batch, seq], weights [batch, seq]."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad)
        weights = torch.zeros(len(rows), longest)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for place, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[place, :length] = torch.tensor(row["input_ids"])
            weights[place, :length] = torch.tensor(row["weights"])
            mask[place, :length] = 1
        labels = ids.masked_fill(weights == 0, -100)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "weights": weights}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The records of a dataset artifact (its data.jsonl) or of a .jsonl file: each with a prompt and a completion.

    Raises StageError naming the file and line of the first record that has neither a completion nor a text.
    """
    file = path / "data.jsonl" if path.is_dir() else path
    records = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise StageError(f"{file}:{number}: not JSON: {error}") from error
        if "text" in record and "completion" not in record:
            record = {**record, "prompt": None, "completion": record["text"]}
        if "completion" not in record:
            raise StageError(f'{file}:{number}: a row needs "prompt" and "completion", or "text"')
        records.append({"prompt": None, **record})
    if not records:
        raise StageError(f"{file} has no rows")
    return records
