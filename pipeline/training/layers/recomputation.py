"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174) of models whose routers are watched, replayed or bounded.

A layer is computed a second time in the backward, when the batch that it belongs to may not be the one that replay and
balance are at any more. Each recomputation therefore takes what they held at the first time.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from eval.language_model import LanguageModel


class Held(Protocol):
    """Something whose hooks change or watch a forward, by what it holds at the moment."""

    def again(self) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """A function that gives, later, a context in which forwards are what they are now, and are not counted."""
        ...


def checkpoint_layers(model: LanguageModel, held: Sequence[Held]) -> None:
    """From now on the model keeps the inputs of its layers alone while it is trained."""

    def contexts() -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
        # Called before each layer's forward; the second context is entered when the layer is computed again.
        return contextlib.nullcontext(), _all([one.again() for one in held])

    model.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": contexts})


@contextlib.contextmanager
def _all(makers: Sequence[Callable[[], contextlib.AbstractContextManager[None]]]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for make in makers:
            stack.enter_context(make())
        yield
