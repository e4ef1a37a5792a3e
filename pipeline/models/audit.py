"""Saved models held against memory, tensor by tensor: what is saved wrongly is found when it is saved, not a stage
later."""

from collections.abc import Sequence
from pathlib import Path

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject
from pipeline.models.shards import built_whole, class_of
from rewards.lazy import lazy

with lazy:
    import torch


SHOWN = 3


def some(names: Sequence[str]) -> str:
    """The first of these names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def check(model: LanguageModel, folder: Path | str, what: str) -> None:
    """Raise StageError where a model that is loaded from `folder` is not `model` in every bit of every parameter and
    buffer.

    The model is loaded as anyone would load it, by `from_pretrained`, so that it is known that this gives it back. That
    takes the model's memory a second time for a moment.
    """
    check_state(class_of(model), model.state_dict(), folder, what)


def check_state(kind: type[LanguageModel], state: JsonObject, folder: Path | str, what: str) -> None:
    """`check` of a model of this class with this state dict, which has to be whole."""
    with built_whole():
        saved = kind.from_pretrained(folder, dtype="auto")  # type: ignore[attr-defined]
    require_same(state, saved.state_dict(), f"{what}: {folder} does not hold")


def require_same(state: JsonObject, other: JsonObject, told: str) -> None:
    """Raise StageError, which begins with `told`, where a parameter or buffer of the state dict `other` is not that of
    the model in memory, `state`, in every bit."""
    # By both names: what is missing and what is too much are different faults.
    faults = differences(state, other)
    if faults:
        more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise StageError(f"{told} the model in memory: {'; '.join(faults[:SHOWN])}{more}")


def differences(expected: JsonObject, found: JsonObject) -> list[str]:
    """How the tensors of two state dicts differ, one line each."""
    faults = []
    for name in [*expected, *(name for name in found if name not in expected)]:
        if name not in found:
            faults.append(f"{name} is missing")
        elif name not in expected:
            faults.append(f"{name} is not the model's")
        elif (one := expected[name]).shape != (other := found[name]).shape or one.dtype != other.dtype:
            faults.append(f"{name} is {tuple(other.shape)} {other.dtype}, not {tuple(one.shape)} {one.dtype}")
        else:
            # Bytes, a row for each value: NaN is NaN, and -0 is not 0.
            ours, theirs = (tensor.cpu().contiguous().reshape(-1, 1).view(torch.uint8) for tensor in (one, other))
            if not torch.equal(ours, theirs):
                faults.append(f"{name} differs in {int((ours != theirs).any(1).sum())} of {one.numel()} values")
    return faults
