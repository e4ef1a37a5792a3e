"""What a plan assumes, by name: every number that is neither counted nor measured."""

from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Assumptions:
    """Each has a line under the plan. MFU is the share of a device's arithmetic that training reaches (Chowdhery et al.
    2022, arXiv 2204.02311, appendix B)."""

    price: float
    """Money for a device and hour, in dollars."""
    mfu: float
    """Share of the device's arithmetic that training and scoring reach."""
    mfu_mixture: float
    """The same with Mixtures of Experts, whose multiplications are smaller."""
    bandwidth: float
    """Share of the device's memory bandwidth that drawing reaches."""
    besides: int
    """Bytes that a process has besides its tensors: libraries and, on a GPU, CUDA's context."""
    layer: float = 5e-4
    """Seconds that a layer takes at least for a forward, whatever its size: Python, and the starts of its kernels."""
    completion: float = 0.6
    """Tokens of a completion, as a share of max_completion_tokens."""
    stands: float = 0.8
    """Share of a module's drafts that stand, where all before them did."""
    copied: float = 0.2
    """The same of drafts that copy the text."""
    simulated: float = 3.4
    """How many times as long a step takes that simulates eight bits (benchmarks/fp8)."""
    characters: float = 4.0
    """Characters of a token, where no tokenizer is at hand; words, digits and marks are one at least."""
    prompt: int = 128
    """Tokens of a prompt, where its problems are not at hand."""
    filled: float = 0.75
    """Tokens of rows that a stage makes itself, as a share of the longest."""
    kept: float = 0.5
    """Share of what a sampling stage may keep that it does keep."""
    context: int = 4096
    """Tokens of a row, where neither recipe nor model has a limit."""
    vocabulary: int = 320
    """Tokens of the tokenizer that is made from the synthetic web."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """(name, value) of each."""
        for one in fields(self):
            value = getattr(self, one.name)
            yield one.name, f"{value / 2**30:.2f} GiB" if one.name == "besides" else f"{value:g}"
