"""What the processes of stages are started with."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract.checkpoints import GRACE
from pipeline.run import launch, slurm
from tests.launchers import CONFIGS

PATIENCE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"


def test_torchs_launcher_waits_as_long_as_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PATIENCE, raising=False)
    assert float(launch.environment()[PATIENCE]) == GRACE
    monkeypatch.setenv(PATIENCE, "7")
    assert launch.environment()[PATIENCE] == "7"  # a user's own goes before


@pytest.mark.parametrize(("name", "kept"), [
    ("RANK", False), ("WORLD_SIZE", False), ("LOCAL_RANK", False), ("MASTER_PORT", False), ("PET_NNODES", False),
    ("TORCHELASTIC_USE_AGENT_STORE", False), ("ACCELERATE_USE_FSDP", False), ("FSDP_VERSION", False),
    ("NCCL_DEBUG", True), ("SLURM_NODEID", True), ("CUDA_VISIBLE_DEVICES", True),
])
def test_a_stage_is_no_member_of_the_group_that_started_its_run(
    monkeypatch: pytest.MonkeyPatch, name: str, kept: bool
) -> None:
    monkeypatch.setenv(name, "1")
    assert (name in launch.environment()) == kept


def test_each_machine_has_the_processors_that_the_job_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert not [one for one in slurm.Allocation(17, 2).on_all(2) if "cpus" in one]
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "64")
    assert "--cpus-per-task=64" in slurm.Allocation(17, 2).on_all(2)


SRUN = """#!/bin/bash
trap 'echo heard USR2; exit' USR2
trap 'echo heard TERM; exit' TERM
echo ready
while true; do sleep 0.02; done
"""


def test_srun_is_sent_what_it_passes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes SIGUSR2 on; SIGTERM would be an order to kill every process of the stage."""
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    config, log = tmp_path / "two.yaml", tmp_path / "log"
    config.write_text(CONFIGS["ddp"].replace("num_machines: 1", "num_machines: 2"))
    stage = launch.accelerate(config, tmp_path / "job.json", log)
    while "ready" not in log.read_text():
        assert stage.poll() is None
    stage.send(signal.SIGTERM)
    while stage.poll() is None:
        time.sleep(0.01)
    assert [line for line in log.read_text().splitlines() if line.startswith("heard")] == ["heard USR2"]


@pytest.mark.parametrize("said", ["", "  fsdp_cpu_ram_efficient_loading: false\n"])
def test_each_process_loads_the_model_whatever_an_fsdp_config_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """By what accelerate's launcher makes of the command: its default is another."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    begun: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: begun.append(command))
    config = tmp_path / "fsdp.yaml"
    config.write_text(CONFIGS["fsdp2"].replace("  fsdp_cpu_ram_efficient_loading: false\n", said))
    launch.accelerate(config, tmp_path / "job.json", tmp_path / "log")
    [command] = begun
    args: Any = launch_command_parser().parse_args(command[command.index("pipeline.run.accelerated") + 1 :])
    args = _validate_launch_command(args)[0]
    assert prepare_multi_gpu_env(args)["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "false"


def test_deepspeed_on_several_machines_is_started_by_torchs_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Slurm has started it once on each of them; DeepSpeed's own launcher would start it on all from each."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    begun: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: begun.append(command))
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    config = tmp_path / "zero.yaml"
    config.write_text(CONFIGS["zero3"].replace("num_machines: 1", "num_machines: 2"))
    launch.accelerate(config, tmp_path / "job.json", tmp_path / "log")
    [command] = begun
    given = ["--machine_rank", "1", *command[command.index("pipeline.run.accelerated") + 1 :]]
    args: Any = _validate_launch_command(launch_command_parser().parse_args(given))[0]
    args.deepspeed_fields_from_accelerate_config = ""
    assert prepare_deepspeed_cmd_env(args)[0] is None  # no command of another launcher
    assert (args.nnodes, args.nproc_per_node, args.node_rank) == ("2", "1", 1)
