"""A run as a Slurm job, with stand-ins for Slurm's own programs: each machine of a job is this one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Killed, little_run
from tests.launchers import CONFIGS

SRUN = f"""#!{sys.executable}
# Runs a command once for each machine of a step. Signals are what they are to Slurm's own, by its source
# (src/srun/libsrun/srun_job.c): SIGTERM and SIGHUP kill the tasks, and SIGUSR1 and SIGUSR2 are passed on.
import os, signal, subprocess, sys
nodes, command = 1, sys.argv[1:]
while command[0].startswith("--"):
    name, _, value = command.pop(0).partition("=")
    nodes = int(value) if name == "--nodes" else nodes
tasks = [subprocess.Popen(command, env={{**os.environ, "SLURM_NODEID": str(machine)}}, start_new_session=True)
         for machine in range(nodes)]
def kill(*_):
    print("srun: forcing job termination", file=sys.stderr, flush=True)
    for task in tasks:
        task.kill()
def forward(number, _):
    for task in tasks:
        task.send_signal(number)
for number, handler in ((signal.SIGTERM, kill), (signal.SIGHUP, kill), (signal.SIGUSR1, forward),
                        (signal.SIGUSR2, forward)):
    signal.signal(number, handler)
codes = [task.wait() for task in tasks]
sys.exit(max(code if code >= 0 else 128 - code for code in codes))
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$(dirname "$0")/asked"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that is found before others, inside of job 17 with two machines."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setenv("SLURMD_NODENAME", "first")
    return folder


def begun(run: Killed) -> subprocess.Popen[bytes]:
    """The batch script of a run, written by `retort launch` and started as Slurm starts it."""
    retort = [sys.executable, "-P", "-m", "pipeline.commands.cli", "launch", "recipe.yaml"]
    told = subprocess.run(retort, cwd=run.folder, capture_output=True, text=True, check=True, env=run.environment)
    [script] = (run.folder / "runs").glob("*.sbatch")
    assert f"sbatch {script}" in told.stdout
    with (run.folder / "printed").open("ab") as stream:
        return subprocess.Popen(["bash", script], cwd=run.folder, env=run.environment, stdout=stream, stderr=stream)


@pytest.mark.parallel
@pytest.mark.usefixtures("slurm")
def test_two_machines_make_what_two_processes_of_one_make(parallel: Callable[..., Killed]) -> None:
    stages = ("base", "zero", "traces")
    two, one = parallel("two", "ddp", stages), parallel("one", "ddp", stages)
    (two.folder / "config.yaml").write_text(CONFIGS["ddp"].replace("num_machines: 1", "num_machines: 2"))
    assert two.killed_when(lambda: two.steps("zero") >= 3)
    assert two.to_the_end() == one.to_the_end()


@pytest.mark.parallel
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM], ids=["USR1", "TERM"])
def test_a_stopped_stage_of_two_machines_leaves_a_checkpoint(
    slurm: Path, parallel: Callable[..., Killed], number: signal.Signals
) -> None:
    """USR1 comes ahead of the job's end, TERM with `scancel`, a preemption and a shutdown."""
    run = parallel("two", "ddp", ("base",))
    recipe = run.folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("steps: 8", "steps: 100000")
                      .replace("every_seconds: null, every_steps: 1", "every_seconds: 3600"))
    (run.folder / "config.yaml").write_text(CONFIGS["ddp"].replace("num_machines: 1", "num_machines: 2"))
    job = begun(run)
    while not list(run.folder.glob("runs/artifacts/.partial/base-*/out/metrics.jsonl")):
        assert job.poll() is None, run.printed
        time.sleep(0.1)
    job.send_signal(number)
    assert job.wait() == 128 + number, run.printed
    assert run.steps("base") >= 1
    assert (slurm / "asked").exists() == (number == signal.SIGUSR1)


@pytest.mark.faults
def test_a_job_whose_time_is_over_goes_back_into_the_queue(
    slurm: Path, tmp_path: Path, little_made: dict[str, str]
) -> None:
    run = little_run(tmp_path / "run")
    for attempt in range(2):
        job = begun(run)
        if attempt == 0:
            while run.steps("zero") < 3:
                assert job.poll() is None
                time.sleep(0.01)
            job.send_signal(signal.SIGUSR1)
        assert job.wait() == (138 if attempt == 0 else 0)
    assert (slurm / "asked").read_text() == "requeue 17\n"
    assert run.to_the_end() == little_made
