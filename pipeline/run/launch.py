"""Starting stage processes: forked from a zygote that has the libraries loaded, or through `accelerate launch`."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from eval import launchers
from pipeline.contract.checkpoints import GRACE
from pipeline.recipe import accelerate_config
from pipeline.recipe.accelerate_config import STANDARD
from pipeline.run import signals, slurm
from rewards.errors import RetortError


class LaunchError(RetortError, RuntimeError):
    """The process that stages are forked from is gone."""


class StageProcess(Protocol):
    """A running stage, with everything that it started in one process group."""

    def poll(self) -> int | None:
        """Exit code (negative: the signal), or None while it runs."""
        ...

    def send(self, number: signal.Signals) -> None:
        """Signal the whole process group; nothing happens where it is gone."""
        ...


# glibc gives large blocks back to the system at once, and every operation of a small model then pays for fresh pages:
# keeping them took a fifth off a training step on two CPU cores. A user's own settings win.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


def environment() -> Mapping[str, str]:
    """Environment of stage processes: the current folder stays off sys.path, and hashing does not vary. A launcher may
    have started the run; a stage's processes are those of its own."""
    return {
        **_KEEP_MEMORY,
        # torch's launcher, which accelerate uses, kills the processes that it started 30 seconds after SIGTERM.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": f"{GRACE:.0f}",
        **launchers.without(os.environ),
        "PYTHONSAFEPATH": "1",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # asking for a GPU must not open one before the fork
    }


class _Forked:
    def __init__(self) -> None:
        self.pid: int | None = None
        self.code: int | None = None
        self._owed: signal.Signals | None = None

    def poll(self) -> int | None:
        return self.code

    def send(self, number: signal.Signals) -> None:
        if self.pid is None:
            # Asked for and not forked yet: the signal is sent as soon as there is a process to have it.
            self._owed = number
        elif self.code is None:
            _signal_group(self.pid, number)

    def forked(self, pid: int) -> None:
        self.pid = pid
        if self._owed is not None:
            _signal_group(pid, self._owed)


class Zygote:
    """Forks stages from a process that loaded `modules` before. Starting it and asking for a stage never block."""

    def __init__(self, modules: Sequence[str], log: Path) -> None:
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.run.zygote", *modules], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=stream, env=environment(), bufsize=0,
            )
        self._log = log
        self._stages: dict[str, _Forked] = {}
        self._unread = b""
        self._abandoned = False

    def start(self, job: Path, log: Path) -> StageProcess:
        """Ask for a stage. Raises LaunchError."""
        assert self._process.stdin is not None
        stage = self._stages[str(job)] = _Forked()
        try:
            self._process.stdin.write(json.dumps({"job": str(job), "log": str(log)}).encode() + b"\n")
        except BrokenPipeError as error:
            raise self._gone() from error
        return stage

    def wait(self, seconds: float) -> None:
        """Let at most so much time pass, less where a stage starts or ends. Raises LaunchError."""
        answers = self._process.stdout
        assert answers is not None
        if self._abandoned:
            time.sleep(seconds)
            return
        # This is also the runner's sleep, which an answer ends.
        if not select.select([answers], [], [], seconds)[0]:
            return
        received = os.read(answers.fileno(), 65536)
        if not received:
            raise self._gone()
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            row = json.loads(line)
            stage = self._stages[row["job"]]
            if "code" not in row:
                stage.forked(row["pid"])
                continue
            stage.code = row["code"]
            _signal_group(row["pid"], signal.SIGKILL)  # children that it left behind

    def abandon_loading(self) -> None:
        """While nothing was forked yet, stages that were asked for end at once; afterwards this does nothing."""
        if any(stage.pid is not None for stage in self._stages.values()):
            return
        self._abandoned = True
        self._process.kill()
        for stage in self._stages.values():
            stage.code = -signal.SIGTERM

    def close(self) -> None:
        """End the process; stages that still run are killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # The zygote takes the end of its input as its own, and kills what still runs.
        self._process.stdin.close()
        try:
            self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:  # still loading: nothing to lose
            for stage in self._stages.values():
                stage.send(signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _gone(self) -> LaunchError:
        return LaunchError(f"the process that stages are forked from ended; see {self._log}")


class _Launched:
    """`stops_by` is what reaches the stage's processes in place of SIGTERM."""

    def __init__(self, process: subprocess.Popen[bytes], stops_by: signal.Signals) -> None:
        self._process, self._stops_by = process, stops_by

    def poll(self) -> int | None:
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            _signal_group(self._process.pid, self._stops_by if number == signal.SIGTERM else number)


def accelerate(config: Path, job: Path, log: Path) -> StageProcess:
    """Start a stage through `accelerate launch` with a config of `accelerate config`; where that is for several
    machines, on as many of the Slurm job that this is (`before/hardware.py` has looked that it is one).

    For a config of type MULTI_CPU without MPI accelerate launches one process and says nothing; its launcher for
    several GPUs is right for CPUs too, and is asked for then.
    """
    asked, job_of_slurm = accelerate_config.read(config), slurm.allocation()
    without_mpi = asked.kind == "MULTI_CPU" and not asked.fields.get("mpirun_config")
    # accelerate starts several processes on CPUs only through MPI, or told that they are GPUs'.
    several = ["--multi_gpu"] if without_mpi else []
    if asked.kind == "FSDP":  # a config that leaves it out would have true, which `before/hardware.py` refuses
        several += ["--fsdp_cpu_ram_efficient_loading", "false"]
    on_all: list[str] = []
    if asked.machines > 1 and job_of_slurm:
        on_all, several = job_of_slurm.on_all(asked.machines), [*several, *job_of_slurm.meeting_place()]
        if asked.kind == "DEEPSPEED":  # its own launcher would start all machines' processes from each of them
            several += ["--deepspeed_multinode_launcher", STANDARD]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*on_all, sys.executable, "-m", "pipeline.run.accelerated", *several, "--config_file", str(config),
             "-m", "pipeline.run.worker", str(job)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment(), process_group=0,
        )
    return _Launched(process, signals.THROUGH_SRUN if on_all else signal.SIGTERM)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone; macOS answers so for a group of zombies
        return
