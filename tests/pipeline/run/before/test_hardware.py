"""What an accelerate config asks for, and what the machine has."""

from pathlib import Path

import pytest
import torch

from pipeline.contract.errors import RecipeError
from pipeline.run.before import hardware
from tests.launchers import CONFIGS, SHIPPED

VERSION = "fsdp_config: {fsdp_version: 2}\n"


def config(folder: Path, text: str) -> Path:
    file = folder / "hardware.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("text", [
    "num_processes: 1\n", "distributed_type: 'NO'\nuse_cpu: true\n",
    "distributed_type: MULTI_CPU\nuse_cpu: true\nnum_processes: 2\n", "distributed_type: MULTI_CPU\n",
])
def test_processors_are_always_there(tmp_path: Path, text: str) -> None:
    hardware.check(config(tmp_path, text))


@pytest.mark.parametrize("kind", ["MULTI_GPU", "FSDP", "DEEPSPEED"])
def test_gpus_that_are_not_here_are_told_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    file = config(tmp_path, f"num_processes: 8\nnum_machines: 2\ndistributed_type: {kind}\n{VERSION}")
    with pytest.raises(RecipeError, match=rf"hardware.yaml:3: {kind} asks for 4 GPUs here, and this machine has 3;"):
        hardware.check(file)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    hardware.check(file)


def test_sharding_is_for_processors_too(tmp_path: Path) -> None:
    hardware.check(config(tmp_path, "distributed_type: FSDP\nuse_cpu: true\nfsdp_config: {fsdp_version: 2}\n"))
    hardware.check(config(tmp_path, "distributed_type: DEEPSPEED\nuse_cpu: true\n"))
    file = config(tmp_path, "use_cpu: true\ndistributed_type: MULTI_GPU\n")
    with pytest.raises(RecipeError, match=r"hardware.yaml:2: MULTI_GPU is for GPUs"):
        hardware.check(file)


@pytest.mark.parametrize("fields", [
    "", "fsdp_config: {fsdp_version: 1}\n", "fsdp_config: {fsdp_offload_params: true}\n",
])
def test_the_first_fsdp_is_refused(tmp_path: Path, fields: str) -> None:
    with pytest.raises(RecipeError, match=r"hardware.yaml:1: FSDP is used in its version 2"):
        hardware.check(config(tmp_path, f"distributed_type: FSDP\nuse_cpu: true\n{fields}"))


@pytest.mark.parametrize("kind", CONFIGS)
def test_shipped_configs_are_for_eight_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    hardware.check(config(tmp_path, CONFIGS[kind]))  # as two processes on processors
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 7)
    with pytest.raises(RecipeError, match="asks for 8 GPUs here, and this machine has 7"):
        hardware.check(SHIPPED / f"{kind}.yaml")
