"""Every block of memory that torch's operators take and free, in its order."""

import contextlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any  # what torch hands to a dispatch mode

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.costs.rehearsal.heap import NODE, Block


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every block of memory that torch's operators make, and when it goes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = self.most = 0
        self.stepping = False
        """While an optimizer steps, numbers that it asks for are made up: some count their steps in tensors."""
        self.blocks: list[Block] = []
        self._known: dict[int, int] = {}  # storage -> number of its block
        self._sizes: dict[int, int] = {}
        self._nodes: list[int] | None = None  # numbers of the graph's blocks, while it is made
        self._graph: list[int] = []

    @contextlib.contextmanager
    def graph(self) -> Iterator[None]:
        """While this lasts, operators also make nodes of the graph: little, but it lies between large blocks, and keeps
        what these leave from becoming one hole."""
        self._nodes = self._graph
        yield
        self._nodes = None

    def forget_graph(self) -> None:
        self.blocks += [Block(number, 0) for number in self._graph]
        self._graph.clear()

    def forget_most(self) -> int:
        """The most bytes that were held since this was asked last."""
        most, self.most = self.most, self.held
        return most

    def _number(self, size: int, small: bool = False) -> int:
        """Of a new block."""
        number = len(self._sizes)
        self._sizes[number] = size
        self.blocks.append(Block(number, size, small))
        return number

    def hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._known or not (size := storage.nbytes()):
            return
        self._known[address] = self._number(size)
        self.held += size
        self.most = max(self.most, self.held)
        weakref.finalize(storage, self._freed, address)

    def _freed(self, address: int) -> None:
        number = self._known.pop(address)
        self.blocks.append(Block(number, 0))
        self.held -= self._sizes[number]

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            grouped = function is torch.ops.aten._grouped_mm.default
            made: Any = _grouped(args[0], args[1], args[2]) if grouped else function(*args, **(kwargs or {}))
        except DataDependentOutputException:
            if not self.stepping:
                raise
            made = 0.5
        for one in tree_leaves(made):
            if isinstance(one, Tensor):
                self.hold(one)
        if self._nodes is not None:
            self._nodes.append(self._number(NODE, small=True))
        return made


def _grouped(left: Tensor, right: Tensor, ends: Tensor) -> Tensor:
    """What torch's grouped multiplication gives of [rows, in] and [groups, in, out], or, for the gradients of weights,
    of [out, rows] and [rows, in]. Its own rule for fake tensors knows bfloat16 alone."""
    if right.dim() == 3:
        return left.new_empty(left.shape[0], right.shape[2])
    return left.new_empty(ends.shape[0], left.shape[0], right.shape[1])
