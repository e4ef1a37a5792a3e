"""What an accelerate config asks for, and what the machine has."""

from pathlib import Path

import pytest
import torch

from pipeline.contract.errors import RecipeError
from pipeline.run.before import hardware
from tests.launchers import CONFIGS, SHIPPED

VERSION = "fsdp_config: {fsdp_version: 2}\n"


@pytest.fixture(autouse=True)
def _on_a_machine_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "first")


def config(folder: Path, text: str) -> Path:
    file = folder / "hardware.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("text", [
    "num_processes: 1\n", "distributed_type: 'NO'\nuse_cpu: true\nnum_processes: 1\n",
    "distributed_type: MULTI_CPU\nuse_cpu: true\nnum_processes: 2\n", "distributed_type: MULTI_CPU\nnum_processes: 1\n",
    "num_processes: 1\ndynamo_config: {}\n", "num_processes: 1\ndynamo_config: {dynamo_backend: 'NO'}\n",
])
def test_processors_are_always_there(tmp_path: Path, text: str) -> None:
    hardware.check(config(tmp_path, text))


@pytest.mark.parametrize("kind", ["MULTI_GPU", "FSDP", "DEEPSPEED"])
def test_gpus_that_are_not_here_are_told_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    file = config(tmp_path, f"num_processes: 8\nnum_machines: 2\ndistributed_type: {kind}\n{VERSION}")
    with pytest.raises(RecipeError, match=rf"hardware.yaml:3: {kind} asks for 4 GPUs here, and this machine has 3;"):
        hardware.check(file)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    hardware.check(file)


def test_sharding_is_for_processors_too(tmp_path: Path) -> None:
    hardware.check(config(tmp_path, f"distributed_type: FSDP\nuse_cpu: true\nnum_processes: 2\n{VERSION}"))
    hardware.check(config(tmp_path, "distributed_type: DEEPSPEED\nuse_cpu: true\nnum_processes: 2\n"))
    file = config(tmp_path, "use_cpu: true\ndistributed_type: MULTI_GPU\nnum_processes: 2\n")
    with pytest.raises(RecipeError, match=r"hardware.yaml:2: MULTI_GPU is for GPUs"):
        hardware.check(file)


@pytest.mark.parametrize("fields", [
    "", "fsdp_config: {fsdp_version: 1}\n", "fsdp_config: {fsdp_offload_params: true}\n",
])
def test_the_first_fsdp_is_refused(tmp_path: Path, fields: str) -> None:
    with pytest.raises(RecipeError, match=r"hardware.yaml:1: FSDP is used in its version 2"):
        hardware.check(config(tmp_path, f"distributed_type: FSDP\nuse_cpu: true\n{fields}"))


def test_machines_are_those_of_a_slurm_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config(tmp_path, "distributed_type: MULTI_CPU\nuse_cpu: true\nnum_machines: 3\nnum_processes: 3\n")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(RecipeError, match=r"hardware.yaml:3: 3 machines are asked for, and this run is in no Slurm"):
        hardware.check(file)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    with pytest.raises(RecipeError, match=r"hardware.yaml:3: 3 machines are asked for, and job 17 has 2"):
        hardware.check(file)
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    hardware.check(file)


def test_a_shell_of_salloc_on_another_machine_is_none_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes would be told to meet there."""
    file = config(tmp_path, "distributed_type: MULTI_CPU\nuse_cpu: true\nnum_machines: 2\nnum_processes: 2\n")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    hardware.check(file)
    monkeypatch.delenv("SLURMD_NODENAME")
    with pytest.raises(RecipeError, match=r"hardware.yaml:3: this is none of job 17's machines; start the run by"):
        hardware.check(file)


def test_one_gpu_that_is_not_here_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `accelerate config` writes it where there is one."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    file = config(tmp_path, "distributed_type: 'NO'\nuse_cpu: false\nnum_processes: 1\n")
    with pytest.raises(RecipeError, match=r"hardware.yaml:1: NO asks for 1 GPUs here, .*take use_cpu: true"):
        hardware.check(file)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    hardware.check(file)


@pytest.mark.parametrize("launcher", ["pdsh", "nossh"])
def test_launchers_that_start_processes_on_other_machines_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    text = ("distributed_type: DEEPSPEED\nuse_cpu: true\nnum_processes: 2\nnum_machines: {}\n"
            "deepspeed_config:\n  deepspeed_multinode_launcher: {}\n")
    hardware.check(config(tmp_path, text.format(1, launcher)))
    hardware.check(config(tmp_path, text.format(2, "standard")))
    with pytest.raises(RecipeError, match=rf"hardware.yaml:6: deepspeed_multinode_launcher: {launcher} .*standard"):
        hardware.check(config(tmp_path, text.format(2, launcher)))


def test_machines_have_as_many_processes_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    text = "distributed_type: MULTI_CPU\nuse_cpu: true\nnum_machines: 2\nnum_processes: {}\n"
    hardware.check(config(tmp_path, text.format(16)))
    for processes in (1, 15):
        with pytest.raises(RecipeError, match=rf"hardware.yaml:4: {processes} processes do not split over 2 machines"):
            hardware.check(config(tmp_path, text.format(processes)))


@pytest.mark.parametrize("text", ["distributed_type: MULTI_CPU\n", "num_processes: many\n", "num_processes: 0\n"])
def test_processes_that_nobody_counted_are_told_with_file_and_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match=r"hardware.yaml:1: num_processes is no number of processes; write"):
        hardware.check(config(tmp_path, text))


@pytest.mark.parametrize(("kind", "line", "instead"), [
    ("MULTI_CPU", "mixed_precision: bf16", "each stage says it by `mixed_precision`"),
    ("MULTI_CPU", "dynamo_config: {dynamo_backend: INDUCTOR}", "stages say it by `compile`"),
    ("FSDP", "  fsdp_activation_checkpointing: true", "`gradient_checkpointing`"),
    ("FSDP", "  fsdp_cpu_ram_efficient_loading: true", "write false"),
    ("DEEPSPEED", "  deepspeed_config_file: zero.json", "under deepspeed_config"),
    ("DEEPSPEED", "  gradient_accumulation_steps: 4", "`micro_batch_tokens`"),
    ("DEEPSPEED", "  gradient_clipping: 0.5", "`max_grad_norm`"),
])
def test_what_would_be_done_in_another_way_is_refused(tmp_path: Path, kind: str, line: str, instead: str) -> None:
    head = {
        "FSDP": "fsdp_config:\n  fsdp_version: '2'\n", "DEEPSPEED": "deepspeed_config:\n  zero_stage: 2\n"
    }.get(kind, "\n\n")
    file = config(tmp_path, f"distributed_type: {kind}\nuse_cpu: true\n{head}{line}\n")
    with pytest.raises(RecipeError, match=rf"hardware.yaml:5: {line.split(':')[0].strip()}: .*{instead}"):
        hardware.check(file)


@pytest.mark.parametrize("kind", CONFIGS)
def test_shipped_configs_are_for_eight_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    hardware.check(config(tmp_path, CONFIGS[kind]))  # as two processes on processors
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 7)
    with pytest.raises(RecipeError, match="asks for 8 GPUs here, and this machine has 7"):
        hardware.check(SHIPPED / f"{kind}.yaml")
