"""Memory that one phase of a round has freed, given back to the system before the next takes its own.

glibc keeps what is freed in its heap, cut into pieces of the sizes that were asked for. Drawing and training want other
ones, so that the heap of a process which does both in turn grows for many rounds.
"""

import ctypes
import platform

from torch import nn

LARGE = 2**28
"""Bytes of parameters from which it is worth the time: pages have to be had, and cleared, again."""


def give_back(model: nn.Module) -> None:
    """Of a large model's process on a CPU; elsewhere nothing is done."""
    if platform.libc_ver()[0] != "glibc":
        return
    here = sum(one.numel() * one.element_size() for one in model.parameters() if one.device.type == "cpu")
    if here >= LARGE:
        ctypes.CDLL(None).malloc_trim(0)
