"""What a model's head loses on texts that it has not read: python benchmarks/speculation/heldout.py MODEL [MODEL ..].

Documents come from the quickstart's synthetic web, by a stream that no training has. A model's loss is the mean over
tokens, weighed as pretraining weighs them; intervals are of 95%, over documents; differences are to the first model,
document by document.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import torch

from pipeline.data.corpus import Corpus
from pipeline.data.rows import Collator, Stream
from pipeline.models import pretrained
from pipeline.training.logprobs import token_logprobs

BATCH = 64


@torch.no_grad()
def sums(place: Path, count: int) -> torch.Tensor:
    """Of each document the weighted sum of its tokens' losses, and of their weights, [documents, 2]."""
    model, tokenizer = pretrained.load(place)
    model.eval()
    documents = Corpus().documents(random.Random("held out"))
    rows = Stream(tokenizer, documents, count, 76, 0.1)
    collate, found = Collator(tokenizer.pad_token_id), []
    for begin in range(0, count, BATCH):
        batch = collate([rows[place] for place in range(begin, min(begin + BATCH, count))])
        weights = batch.pop("weights")[:, 1:]
        losses = -token_logprobs(model, batch) * weights
        found.append(torch.stack([losses.sum(1), weights.sum(1)], dim=1).double())
    return torch.cat(found)


def interval(part: torch.Tensor, weights: torch.Tensor) -> tuple[float, float]:
    """A ratio of sums over documents, and the half of its interval (by linearization, as of a ratio estimator)."""
    ratio = part.sum() / weights.sum()
    spread = (part - ratio * weights).std() * len(part) ** 0.5 / weights.sum()
    return float(ratio), float(1.96 * spread)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--documents", type=int, default=4000)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    first = None
    for place in args.models:
        found = sums(place, args.documents)
        first = found if first is None else first
        said = ["{:.4f} ± {:.4f}".format(*interval(found[:, 0], found[:, 1])),
                "{:+.4f} ± {:.4f}".format(*interval(found[:, 0] - first[:, 0], found[:, 1]))]
        print(f"{place}: {said[0]}, to the first {said[1]}", flush=True)


if __name__ == "__main__":
    main()
