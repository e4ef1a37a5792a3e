"""Several machines of a Slurm allocation: the runner lives on the first, and starts a stage on all of them by `srun`.

The run's folder has to be one that all of them see. What a stage's processes need to find each other, torch's way, is
given by the runner; which machine each is on, srun says.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

RANK = "SLURM_NODEID"
"""The variable by which srun numbers the machines of a step, from 0."""

_PORTS = range(29_500, 39_500)


@dataclass(frozen=True)
class Allocation:
    """The Slurm job that this process is in."""

    job: int
    machines: int

    @property
    def port(self) -> int:
        """Where processes of the job's stages meet: of two jobs that share a machine each has its own."""
        return _PORTS[self.job % len(_PORTS)]

    def on_all(self, machines: int) -> list[str]:
        """The beginning of a command that runs once on each of so many machines, and ends on all where it fails on
        one."""
        # Of the job's options srun takes over all that are needed but this one (since Slurm 22.05).
        processors = os.environ.get("SLURM_CPUS_PER_TASK", "")
        return ["srun", f"--nodes={machines}", f"--ntasks={machines}", "--ntasks-per-node=1",
                *([f"--cpus-per-task={processors}"] if processors else []), "--kill-on-bad-exit=1"]

    def meeting_place(self) -> list[str]:
        """Options of `accelerate launch`. The runner is on the first machine, since a batch script is."""
        return ["--main_process_ip", socket.gethostname(), "--main_process_port", str(self.port)]


def on_a_machine_of_it() -> bool:
    """Whether this process is on a machine of its job, which a shell of `salloc` need not be."""
    return "SLURMD_NODENAME" in os.environ


def allocation() -> Allocation | None:
    """The job that this process is in, by Slurm's variables; None outside of one."""
    job, machines = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_JOB_NUM_NODES", "")
    return Allocation(int(job), int(machines)) if job.isdigit() and machines.isdigit() else None


def on_several(arguments: Sequence[str]) -> bool:
    """Whether these arguments of `accelerate launch` are those of one of several machines."""
    return "--main_process_ip" in arguments


def rank() -> list[str]:
    """Arguments of `accelerate launch` that say which of several machines this is."""
    return ["--machine_rank", os.environ[RANK]]
