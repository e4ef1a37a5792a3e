"""What eight bits cost in each layer of a model, on a batch of the synthetic web: of numbers alone, of products, and of
sums alone; and what a step costs. Prints tables in Markdown.

python benchmarks/fp8/errors.py MODEL
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from eval.language_model import LanguageModel, Tokenizer
from pipeline.data.corpus import Corpus
from pipeline.data.rows import Collator, Stream
from pipeline.models import pretrained
from pipeline.training.fp8.arithmetic import Tiles, by_block, by_row
from pipeline.training.fp8.grouped import How, in_eight_bits
from pipeline.training.fp8.layers import replace
from pipeline.training.fp8.learning import EightBits
from pipeline.training.fp8.products import Product, exact, never_promoted, promoted
from pipeline.training.fp8.section import Format, Fp8
from pipeline.training.logprobs import token_logprobs

ROWS, LENGTH = 32, 76
TIMES = 6
SUMS: dict[str, Product] = {
    "fp32": exact,
    "14 bits, promoted": promoted, "14 bits": never_promoted,
    "13 bits, promoted": partial(promoted, mantissa=12), "13 bits": partial(never_promoted, mantissa=12),
}
"""By the bits of a sum, with the one before the point, which no mantissa holds."""


@dataclass
class Layer:
    """What a layer saw: rows in groups, each group's matrix, and the gradient of what it made."""

    rows: Tensor
    weight: Tensor
    counts: Sequence[int]
    gradient: Tensor = field(default_factory=lambda: torch.empty(0))

    def made(self, how: How | None) -> tuple[Tensor, Tensor, Tensor]:
        """The product, and the gradients of rows and weights; without `how` in fp32."""
        rows, weight = self.rows.clone().requires_grad_(), self.weight.clone().requires_grad_()
        made = _in_full(rows, weight, self.counts) if how is None else in_eight_bits(rows, weight, self.counts, how)
        of_rows, of_weight = torch.autograd.grad(made, (rows, weight), self.gradient)
        return made.detach(), of_rows, of_weight


def _in_full(rows: Tensor, weight: Tensor, counts: Sequence[int]) -> Tensor:
    groups = zip(rows.split(list(counts)), weight, strict=True)
    return torch.cat([group @ matrix.T for group, matrix in groups])


def batch(tokenizer: Tokenizer) -> dict[str, Tensor]:
    rows = Stream(tokenizer, Corpus().documents(random.Random("fp8")), ROWS, LENGTH, 0.1)
    return Collator(tokenizer.pad_token_id)([rows[number] for number in range(ROWS)])


def step(model: LanguageModel, some: dict[str, Tensor]) -> None:
    """The gradients of a batch."""
    weights = some["weights"][:, 1:]
    loss = -(token_logprobs(model, some) * weights).sum() / weights.sum()
    loss.backward()


def layers(model: LanguageModel, some: dict[str, Tensor]) -> dict[str, Layer]:
    """What each layer sees of a batch, in fp32, by the names of their weights."""
    names = {parameter.data_ptr(): name for name, parameter in model.named_parameters()}
    found: dict[str, Layer] = {}

    def keep(rows: Tensor, weight: Tensor, counts: Sequence[int]) -> Tensor:
        made = _in_full(rows, weight, counts)
        name = names[weight.data_ptr()].removeprefix("model.layers.").removesuffix(".weight")
        found[name] = layer = Layer(rows.detach(), weight.detach(), counts)
        made.register_hook(partial(setattr, layer, "gradient"))
        return made

    replaced = replace(model, keep)
    step(model, some)
    for layer in replaced:
        del layer.forward
    return found


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def of_numbers(layer: Layer) -> dict[str, float]:
    """Of a matrix that is written in eight bits and read back."""
    draws = torch.Generator().manual_seed(0)

    def by(make: Callable[..., Tiles], matrix: Tensor, kind: Format, **more: torch.Generator) -> float:
        return error(make(matrix, kind, **more).values(), matrix)

    return {
        "weights, E4M3": by(by_block, layer.weight, "e4m3"), "weights, E5M2": by(by_block, layer.weight, "e5m2"),
        "activations, E4M3": by(by_row, layer.rows, "e4m3"), "activations, E5M2": by(by_row, layer.rows, "e5m2"),
        "gradients, E4M3": by(by_row, layer.gradient, "e4m3"), "gradients, E5M2": by(by_row, layer.gradient, "e5m2"),
        "gradients, E4M3 by chance": by(by_row, layer.gradient, "e4m3", draws=draws),
        "gradients, E5M2 by chance": by(by_row, layer.gradient, "e5m2", draws=draws),
    }


def of_products(layer: Layer) -> dict[str, float]:
    """Of the product, and of the gradients of activations and of weights, against fp32."""
    draws = torch.Generator().manual_seed(0)
    ways = {
        "E4M3": How(exact), "E5M2": How(exact, "e5m2"), "E4M3 by chance": How(exact, "e4m3", draws),
        "E5M2 by chance": How(exact, "e5m2", draws),
    }
    expected = layer.made(None)
    made = {name: layer.made(how) for name, how in ways.items()}
    found = {"product": error(made["E4M3"][0], expected[0])}
    for part, what in ((1, "of activations"), (2, "of weights")):
        found |= {f"{what}, {name}": error(some[part], expected[part]) for name, some in made.items()}
    return found


def of_sums(layer: Layer) -> dict[str, float]:
    """Of the same three, against sums of the same numbers in fp32."""
    expected = layer.made(How(exact))
    made = {name: layer.made(How(product)) for name, product in SUMS.items() if product is not exact}
    return {f"{what}, {name}": error(some[part], expected[part])
            for part, what in enumerate(("product", "of activations", "of weights"))
            for name, some in made.items() if what == "of weights" or name.startswith("14")}


def seconds(model: LanguageModel, some: dict[str, Tensor], section: Fp8 | None) -> float:
    """Of a processor, for the gradients of a batch: the least of several."""
    eight = EightBits(model, section, 0) if section else None
    taken = []
    for _ in range(TIMES):
        begun = time.process_time()
        step(model, some)
        taken.append(time.process_time() - begun)
    if eight:
        eight.remove()
    return min(taken)


def table(title: str, rows: dict[str, dict[str, float]]) -> None:
    columns = [*next(iter(rows.values()))]
    print(f"\n| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{100 * row[column]:.3g}' for column in columns)} |")
    means = [sum(row[column] for row in rows.values()) / len(rows) for column in columns]
    print(f"| mean | {' | '.join(f'{100 * mean:.3g}' for mean in means)} |")


def long_sums() -> None:
    """The paper's example: random matrices with sums of 4096 (section 3.3.2)."""
    draws = torch.Generator().manual_seed(0)
    kinds: dict[str, Callable[..., Tensor]] = {"between 0 and 1": torch.rand, "normal": torch.randn}
    for name, make in kinds.items():
        left, right = (by_row(make(64, 4096, generator=draws)) for _ in range(2))
        expected = left.values().double() @ right.values().double().T
        print(f"\n{name}, sums of 4096: " + "; ".join(
            f"{sums} {100 * error(product(left, right), expected):.2g}%, at most "
            f"{100 * float(((product(left, right) - expected).abs() / expected.abs().mean()).max()):.2g}%"
            for sums, product in SUMS.items()
        ))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    torch.set_num_threads(1)
    policy, words = pretrained.load(parser.parse_args().model)
    read = batch(words)
    seen = layers(policy.train(), read)
    table("numbers, %", {name: of_numbers(layer) for name, layer in seen.items()})
    table("products, %", {name: of_products(layer) for name, layer in seen.items()})
    table("sums alone, %", {name: of_sums(layer) for name, layer in seen.items()})
    long_sums()
    print(f"\nfp32: {seconds(policy, read, None):.2f} s")
    for fields in (
        {}, {"backward": "e5m2"}, {"stochastic_rounding": True}, {"accumulation": "fp32"},
        {"accumulation": "tensor_core"},
    ):
        print(f"{fields}: {seconds(policy, read, Fp8.model_validate(fields)):.2f} s")
