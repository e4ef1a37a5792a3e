"""The device that a process draws on. Trainers place their model themselves."""

import contextlib
import os
from collections.abc import Iterator

import torch

from eval.language_model import LanguageModel


def own_device() -> torch.device:
    """This process's GPU, by its number on its machine; the processor where there is none, or where the accelerate
    config says `use_cpu: true`."""
    on_processor = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    if on_processor or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


@contextlib.contextmanager
def placed(model: LanguageModel) -> Iterator[LanguageModel]:
    """The model on this process's device, and where it was afterwards, so that the memory is free for what follows."""
    before = model.device
    try:
        yield model.to(own_device())
    finally:
        model.to(before)
