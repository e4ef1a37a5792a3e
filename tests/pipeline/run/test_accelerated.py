"""What accelerate's launchers do in the runner's hands, by launchers that are started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
