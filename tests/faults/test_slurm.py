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

SRUN = """#!/bin/bash
# Runs a command once for each machine of a step.
while [[ $1 == --* ]]; do
  case $1 in --nodes=*) nodes=${1#*=};; esac
  shift
done
for ((machine = 0; machine < nodes; machine++)); do SLURM_NODEID=$machine "$@" & done
code=0
for job in $(jobs -p); do wait $job || code=$?; done
exit $code
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
    return folder


@pytest.mark.parallel
@pytest.mark.usefixtures("slurm")
def test_two_machines_make_what_two_processes_of_one_make(parallel: Callable[..., Killed]) -> None:
    stages = ("base", "zero", "traces")
    two, one = parallel("two", "ddp", stages), parallel("one", "ddp", stages)
    (two.folder / "config.yaml").write_text(CONFIGS["ddp"].replace("num_machines: 1", "num_machines: 2"))
    assert two.killed_when(lambda: two.steps("zero") >= 3)
    assert two.to_the_end() == one.to_the_end()


@pytest.mark.faults
def test_a_job_whose_time_is_over_goes_back_into_the_queue(
    slurm: Path, tmp_path: Path, little_made: dict[str, str]
) -> None:
    run = little_run(tmp_path / "run")
    retort = [sys.executable, "-P", "-m", "pipeline.commands.cli", "launch", "recipe.yaml"]
    told = subprocess.run(retort, cwd=run.folder, capture_output=True, text=True, check=True, env=run.environment)
    script = run.folder / "runs" / "little.sbatch"
    assert f"sbatch {script}" in told.stdout
    for attempt in range(2):
        job = subprocess.Popen(["bash", script], cwd=run.folder, env=run.environment, stdout=subprocess.DEVNULL)
        if attempt == 0:
            while run.steps("zero") < 3:
                assert job.poll() is None
                time.sleep(0.01)
            job.send_signal(signal.SIGUSR1)
        assert job.wait() == (138 if attempt == 0 else 0)
    assert (slurm / "asked").read_text() == "requeue 17\n"
    assert run.to_the_end() == little_made
