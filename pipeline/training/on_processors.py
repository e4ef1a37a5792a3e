"""FSDP2 and DeepSpeed on processors, as the accelerate config asks for them: a team tries its cluster's recipe on a
laptop so, and the tests of this project do.

accelerate (1.15) knows neither there. Its `AcceleratorState` takes FSDP for kinds of devices that it lists, of which
processors are none, and trains whole models without a word; torch's `fully_shard` itself runs with gloo. DeepSpeed it
leaves out where it is told to use processors; told nothing on a machine without GPUs, and with gloo for a backend, it
takes DeepSpeed's own support of them.
"""

import os
from typing import TypedDict

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import PartialState
from accelerate.utils import FullyShardedDataParallelPlugin

from pipeline.training.placement import own_device

PATIENCE = 4 * 3600
"""Seconds that processes wait for each other: as long as one asks a server for the gate, grades a round, or writes a
large checkpoint to a slow disk. On processors, where transformers passes it on to nobody, it is half an hour."""


class Arguments(TypedDict):
    """Those of `TrainingArguments` that say where a training runs, how patiently, and in what precision."""

    use_cpu: bool
    ddp_backend: str | None
    ddp_timeout: int
    bf16: bool


def arguments(mixed_precision: bool | None) -> Arguments:
    """On GPUs where there are some; in the precision that `computes_in_bfloat16` says."""
    processors, deepspeed = own_device().type == "cpu", _asked_for("DEEPSPEED")
    return {
        "use_cpu": processors and not deepspeed,
        "ddp_backend": "gloo" if processors and deepspeed else None,
        "ddp_timeout": PATIENCE,
        # Under DeepSpeed that is not transformers' to say: see `BaseTrainer.autocast_smart_context_manager`.
        "bf16": computes_in_bfloat16(mixed_precision) and not deepspeed,
    }


def computes_in_bfloat16(mixed_precision: bool | None) -> bool:
    """Whether forwards do, where a recipe says so; where it says nothing, on GPUs."""
    return own_device().type != "cpu" if mixed_precision is None else mixed_precision


def autocast(device: torch.device, in_bfloat16: bool) -> torch.autocast:
    """A context in which forwards are computed in bfloat16, or as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16)


def honour_fsdp(accelerator: Accelerator) -> None:
    """Makes an accelerator of processors shard where its config asks for it; call it before anything is prepared."""
    if not _asked_for("FSDP") or accelerator.distributed_type != DistributedType.MULTI_CPU:
        return
    state = accelerator.state
    state.fsdp_plugin = FullyShardedDataParallelPlugin()  # its fields are the launcher's variables
    state.distributed_type = DistributedType.FSDP
    # The two states are each asked by a part of accelerate.
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def _asked_for(name: str) -> bool:
    """What the launcher was told."""
    return os.environ.get(f"ACCELERATE_USE_{name}") == "true"
