"""The device that a process draws on, and memory that it gives back. Trainers place their model themselves."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

import torch

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError

LARGE = 2**28
"""Bytes of parameters from which memory is given back, which has to be had, and cleared, again: the quickstart's models
are below it, and no more than that was asked of it."""


def own_device() -> torch.device:
    """This process's GPU, by its number on its machine; the processor where there is none, or where the accelerate
    config says `use_cpu: true`."""
    on_processor = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    if on_processor or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def require_one_gpu() -> None:
    """Raise StageError where this process belongs to no launcher's and sees several GPUs, which transformers' Trainer
    would share a batch out to, and trl's refuses."""
    if "LOCAL_RANK" not in os.environ and own_device().type == "cuda" and torch.cuda.device_count() > 1:
        raise StageError(f"one process sees {torch.cuda.device_count()} GPUs; start it with an accelerate config, or "
                         "show it one by CUDA_VISIBLE_DEVICES")


@contextlib.contextmanager
def placed(model: LanguageModel) -> Iterator[LanguageModel]:
    """The model on this process's device, and where it was afterwards, so that the memory is free for what follows."""
    before = model.device
    try:
        yield model.to(own_device())
    finally:
        model.to(before)


def give_back(model: LanguageModel) -> None:
    """Memory that was freed, to the system; of a large model's process on a CPU, elsewhere nothing is done.

    glibc keeps it in its heap, cut into pieces of the sizes that were asked for. Batches differ in length, and drawing
    and training in what they want, so that the heap grows from step to step: a student of 268M parameters with 262,144
    words held 8 GiB after a step, and 21 after sixty. In a loop of one matrix in bfloat16 this took 1.57 GiB to .89
    after 150 steps, and .66 with small caches of oneDNN's besides. In a stage neither what it saves nor what it costs
    was measured.
    """
    here = sum(one.numel() * one.element_size() for one in model.parameters() if one.device.type == "cpu")
    if here >= LARGE and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
