"""FSDP on processors, which accelerate leaves out without a word. Where the first of these fails it no longer does, and
`honour_fsdp` can go."""

import os
import subprocess
import sys

import pytest
import torch

from pipeline.training.on_processors import arguments

PROGRAM = """
from accelerate import Accelerator
from pipeline.training.on_processors import honour_fsdp
accelerator = Accelerator(cpu=True)
print(accelerator.distributed_type)
honour_fsdp(accelerator)
print(accelerator.distributed_type, accelerator.is_fsdp2)
"""


def said(**environment: str) -> list[str]:
    """By a process that is launched as one of one, on processors."""
    launched = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": "0"}
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM], env={**os.environ, **launched, **environment},
                          capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:2]


def test_accelerate_does_not_shard_on_processors_until_it_is_told() -> None:
    asked = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    assert said(**asked) == ["DistributedType.MULTI_CPU", "DistributedType.FSDP True"]


def test_nothing_is_sharded_that_was_not_asked_for() -> None:
    assert said() == ["DistributedType.MULTI_CPU", "DistributedType.MULTI_CPU False"]


def test_who_asks_for_processors_beside_a_gpu_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert (arguments(None)["use_cpu"], arguments(None)["bf16"]) == (False, True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert (arguments(None)["use_cpu"], arguments(None)["bf16"]) == (True, False)
