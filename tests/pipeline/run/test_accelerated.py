"""What accelerate's launchers do in the runner's hands, and stages that they start."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., Path]

SLOW = """
import signal, sys, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
print("ready", flush=True)
while not told:
    time.sleep(0.01)
time.sleep(1)
print("left a checkpoint", flush=True)
sys.exit(143)
"""
DEEPSPEED = """
import os, sys
from accelerate.commands import launch
def told(args):
    args.deepspeed_fields_from_accelerate_config = ""
    print(launch.prepare_deepspeed_cmd_env(args)[1]["PYTHONPATH"])
launch.deepspeed_launcher = told
launch.is_deepspeed_available = lambda: True
from pipeline.run import accelerated
sys.argv[1:] = ["--config_file", "zero.yaml", "-m", "pipeline.run.worker", "job.json"]
accelerated.main()
"""


def retort(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "pipeline.commands.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_launcher_of_one_process_waits_for_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("distributed_type: 'NO'\nnum_machines: 1\nnum_processes: 1\nuse_cpu: true\n")
    (tmp_path / "slow.py").write_text(SLOW)
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    log = tmp_path / "log"
    with log.open("w") as stream:
        launcher = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.run.accelerated", "--config_file", "one.yaml", "-m", "slow"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, stdout=stream, stderr=stream, process_group=0,
        )
    while "ready" not in log.read_text():
        assert launcher.poll() is None, log.read_text()
        time.sleep(0.01)
    os.killpg(launcher.pid, signal.SIGTERM)  # as the runner does
    launcher.wait()
    assert "left a checkpoint" in log.read_text()


def test_the_current_folder_is_not_on_the_path_of_deepspeeds_processes(tmp_path: Path) -> None:
    """A user's rewards.py would be taken for Retort's."""
    (tmp_path / "zero.yaml").write_text("distributed_type: DEEPSPEED\nnum_machines: 1\nnum_processes: 2\n"
                                        "deepspeed_config: {zero_stage: 2}\n")
    done = subprocess.run([sys.executable, "-P", "-c", DEEPSPEED], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stdout.split("\n")[-2].split(":")


def test_accelerate_launch_runs_a_stage(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "cpu.yaml").write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\nnum_processes: 1\n"
                                       "num_machines: 1\nmixed_precision: 'no'\nuse_cpu: true\n")
    path = write_recipe("accelerate: cpu.yaml\nstages:\n  base: {kind: 'tiny.py:Spread', end: note}\n"
                        "  text: {kind: 'tiny.py:Write', model: base}\n", "fast.yaml")
    done = retort("run", str(path))
    assert done.returncode == 0, Path("runs/fast/logs/base.log").read_text()
    assert "base  look here" in done.stdout
    assert (Path("runs/fast/01-base") / "number.txt").is_file()
    assert (Path("runs/fast/02-text") / "data.jsonl").is_file()
    assert not Path("runs/fast/logs/text.log").read_text()


def test_gpus_that_are_not_here_stop_a_run_before_any_work(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "gpus.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: 64\nnum_machines: 1\n")
    path = write_recipe("accelerate: gpus.yaml\nstages:\n  base: {kind: 'tiny.py:Spread'}\n", "gpus-wanted.yaml")
    done = retort("run", str(path))
    assert done.returncode == 2
    assert re.fullmatch(r"\S+gpus.yaml:1: MULTI_GPU asks for 64 GPUs here, .*\n", done.stderr)


@pytest.mark.parametrize(("end", "said"), [
    ("in the second process", "base  failed: process 2 of 2: no room here"),
    ("kill in the second process", "base  failed: its process was ended by SIGKILL (out of memory?); see "),
])
def test_what_fails_in_the_second_process_is_told(write_recipe: Write, tmp_path: Path, end: str, said: str) -> None:
    (tmp_path / "cpu.yaml").write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\n"
                                       "num_processes: 2\nnum_machines: 1\nmixed_precision: 'no'\nuse_cpu: true\n")
    path = write_recipe("accelerate: cpu.yaml\nstages:\n"
                        f"  base: {{kind: 'tiny.py:Spread', end: {end}}}\n", "second.yaml")
    done = retort("run", str(path))
    assert done.returncode == 1
    assert said in done.stdout
