"""Whether this machine has what an accelerate config asks for. accelerate itself takes the processor where there is no
GPU, and says nothing."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.contract.errors import RecipeError
from pipeline.recipe import strict_yaml
from pipeline.run import slurm
from rewards.lazy import lazy

with lazy:
    import torch

ON_PROCESSORS = ("NO", "MULTI_CPU", "FSDP", "DEEPSPEED")
ON_GPUS = ("MULTI_GPU", "FSDP", "DEEPSPEED", "MEGATRON_LM")
"""What accelerate calls `distributed_type`; others are for accelerators that are not looked for here."""


def check(config: Path) -> None:
    """Raises RecipeError where the config is for GPUs or machines that are not here, for what accelerate does on GPUs
    alone, or for FSDP as it was before it cut by parameters."""
    document = strict_yaml.read_file(config)
    asked: Mapping[str, object] = document.data
    kind, place = str(asked.get("distributed_type", "NO")), document.place(("distributed_type",))
    if kind == "FSDP" and _fsdp_version(asked) != 2:
        raise RecipeError(f"{place}: FSDP is used in its version 2, which cuts models by parameters; write "
                          "fsdp_version: 2 under fsdp_config (accelerate's default is 1)")
    _check_machines(asked, document.place(("num_machines",)))
    if asked.get("use_cpu") is True:
        if kind not in ON_PROCESSORS:
            raise RecipeError(f"{place}: {kind} is for GPUs, and with use_cpu: true accelerate would do without it, in "
                              "silence; take distributed_type: MULTI_CPU, or leave use_cpu out")
        return
    if kind not in ON_GPUS:
        return
    wanted, here = _processes_here(asked), torch.cuda.device_count()
    if here < wanted:
        raise RecipeError(f"{place}: {kind} asks for {wanted} GPUs here, and this machine has {here}; lower "
                          "num_processes, or take distributed_type: MULTI_CPU and use_cpu: true")


def _check_machines(asked: Mapping[str, object], place: str) -> None:
    machines, job = asked.get("num_machines", 1), slurm.allocation()
    if not isinstance(machines, int) or machines <= 1:
        return
    if job is None:
        raise RecipeError(f"{place}: {machines} machines are asked for, and this run is in no Slurm job; `retort launch` "
                          "writes the script of one, or take num_machines: 1")
    if job.machines < machines:
        raise RecipeError(f"{place}: {machines} machines are asked for, and job {job.job} has {job.machines}; lower "
                          "num_machines, or ask Slurm for more by --nodes")


def _fsdp_version(asked: Mapping[str, object]) -> object:
    fields = asked.get("fsdp_config")
    return fields.get("fsdp_version", 1) if isinstance(fields, Mapping) else 1


def _processes_here(asked: Mapping[str, object]) -> int:
    """Processes of the config that run on this machine."""
    processes, machines = asked.get("num_processes", 1), asked.get("num_machines", 1)
    if not isinstance(processes, int) or not isinstance(machines, int):
        return 1
    return -(-processes // max(1, machines))
