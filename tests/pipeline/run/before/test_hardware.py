"""What an accelerate config asks for, and what the machine has."""

from pathlib import Path

import pytest
import torch

from pipeline.contract.errors import RecipeError
from pipeline.run.before import hardware


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
    file = config(tmp_path, f"num_processes: 8\nnum_machines: 2\ndistributed_type: {kind}\n")
    with pytest.raises(RecipeError, match=rf"hardware.yaml:3: {kind} asks for 4 GPUs here, and this machine has 3;"):
        hardware.check(file)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    hardware.check(file)


def test_what_accelerate_does_on_gpus_alone_is_no_processors_affair(tmp_path: Path) -> None:
    file = config(tmp_path, "distributed_type: FSDP\nuse_cpu: true\n")
    with pytest.raises(RecipeError, match="FSDP is for GPUs"):
        hardware.check(file)
