"""Token rows for supervised training: ids with a weight each, padded into batches."""

from collections.abc import Iterable, Sequence
from typing import Any

from eval.prompts import encode_completion, encode_text

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
