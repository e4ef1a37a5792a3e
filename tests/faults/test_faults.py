"""What goes wrong around a run: each ends in a clear line or in a correct continuation, and nothing finished is
lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import made, session

Little = Callable[..., Any]

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("little")]

COMMAND = f"{sys.executable} -P -m pipeline.commands.cli run recipe.yaml"


def killed_in_zero(little: Little) -> Any:
    run = little("run")
    assert run.killed_when(lambda: run.steps("zero") >= 4)
    return run


def checkpoint(run: Any) -> Path:
    found: Path = max(path for path in run.checkpoints("zero") if path.name.startswith("step-"))
    return found


def in_a_file_system_of_its_own(run: Any, script: str) -> str:
    """Runs a shell script with a small file system mounted at runs/, and returns all that it printed."""
    if not shutil.which("unshare"):
        pytest.skip("needs unshare to mount a small file system")
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"mkdir -p runs; {script}"]
    done = subprocess.run(words, cwd=run.folder, env=run.environment, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr or "permission denied" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    return done.stdout + done.stderr


@pytest.mark.parametrize("size", ["300k", "500k", "700k", "900k"])  # where it runs full differs
def test_a_full_disk(little: Little, little_made: dict[str, str], size: str) -> None:
    run = little("run")
    printed = in_a_file_system_of_its_own(run, f"""
        mount -t tmpfs -o size={size} none runs
        {COMMAND}; echo "full: $?"
        mount -o remount,size=100m runs
        {COMMAND}; echo "free again: $?"
        cp -r runs kept
    """)
    assert "full: 1" in printed
    assert "No space left on device" in printed
    assert "free again: 0" in printed
    assert "Traceback" not in printed
    shutil.rmtree(run.folder / "runs")
    (run.folder / "kept").rename(run.folder / "runs")
    assert run.to_the_end() == little_made


def test_a_read_only_folder(little: Little) -> None:
    run = little("run")
    printed = in_a_file_system_of_its_own(run, f"""
        mount -t tmpfs -o size=50m none runs; mount -o remount,ro runs
        {COMMAND}; echo "read-only: $?"
    """)
    assert "read-only: 1" in printed
    assert "Read-only file system" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    "file", ["checkpoint-*/optimizer.pt", "states-0.pt", "checkpoint-*/model.safetensors", "checkpoint.json"]
)
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_checkpoint(little: Little, little_made: dict[str, str], file: str, cut: bool) -> None:
    run = killed_in_zero(little)
    found = next(checkpoint(run).glob(file))
    content = bytearray(found.read_bytes())
    content[len(content) // 2] ^= 1
    found.write_bytes(content[: len(content) // 2] if cut else content)
    assert run.to_the_end() == little_made
    assert "is damaged" in run.printed


def test_a_checkpoint_of_another_version(little: Little, little_made: dict[str, str]) -> None:
    run = killed_in_zero(little)
    manifest = checkpoint(run) / "checkpoint.json"
    content = json.loads(manifest.read_text())
    content["facts"]["torch"] = "1.0.0"
    manifest.write_text(json.dumps(content))
    assert run.start().wait() == 1
    assert "torch 1.0.0, now" in run.printed
    assert "--inexact" in run.printed
    assert run.to_the_end("--inexact") == little_made  # it was not another version really
    assert "goes on inexactly" in run.printed


def test_less_at_once_after_memory_ran_out(little: Little) -> None:
    run = killed_in_zero(little)
    less = ("--set", "zero.micro_batch_tokens=64")
    assert run.start(*less).wait() == 1
    assert "micro_batch_tokens None, now 64" in run.printed
    assert "zero/model/model.safetensors" in run.to_the_end(*less, "--inexact")
    assert "goes on inexactly" in run.printed


def test_torn_rows(little: Little, little_made: dict[str, str]) -> None:
    run = killed_in_zero(little)
    for file in ("ledger.jsonl", "logs/zero.events.jsonl"):
        with (run.folder / "runs" / "little" / file).open("ab") as stream:
            stream.write(b'{"stage": "ze')
    assert run.to_the_end() == little_made
    command = [sys.executable, "-P", "-m", "pipeline.commands.cli", "report", "runs/little"]
    assert subprocess.run(
        command, cwd=run.folder, env=run.environment, capture_output=True, check=False
    ).returncode == 0


def test_a_clock_that_jumps(little: Little, little_made: dict[str, str]) -> None:
    """time.time() jumps by up to ten hours to and fro in every process of the run."""
    run = little("run")
    (run.folder / "sitecustomize.py").write_text(
        "import random, time\nreal, rng = time.time, random.Random()\ntime.time = lambda: real() + "
        "rng.uniform(-36000, 36000)\n")
    run.environment["PYTHONPATH"] = os.pathsep.join(
        [str(run.folder), *filter(None, [run.environment.get("PYTHONPATH")])]
    )
    assert run.killed_when(lambda: run.steps("zero") >= 4)
    assert run.to_the_end() == little_made


def test_ctrl_c_leaves_a_checkpoint_and_a_second_one_leaves_at_once(
    little: Little, little_made: dict[str, str]
) -> None:
    run = little("run")
    (run.folder / "recipe.yaml").write_text(
        (run.folder / "recipe.yaml").read_text().replace("every_steps: 1", "every_steps: 3")
    )
    process = run.start()
    while run.steps("zero") < 3:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert run.steps("zero") > 3 or run.steps("zero") % 3
    assert "To go on: retort run recipe.yaml" in run.printed
    process = run.start()
    while run.printed.count("goes on from its checkpoint") < 1:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    time.sleep(1.2)  # twice within a second is one stop that came twice
    process.send_signal(signal.SIGTERM)
    assert process.wait() in (128 + signal.SIGTERM, 128 + signal.SIGTERM - 256)
    assert run.to_the_end() == little_made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("to", ["runner", "group", "every process"])
def test_a_scheduler_s_signal_leaves_a_checkpoint(
    little: Little, little_made: dict[str, str], number: signal.Signals, to: str
) -> None:
    """What Slurm, systemd, Docker, Kubernetes and a closed terminal send, and to whom."""
    run = little("run")
    recipe = run.folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("every_steps: 1", "every_steps: 3"))
    process = run.start()
    while run.steps("zero") < 3:
        time.sleep(0.001)
    match to:
        case "runner":
            process.send_signal(number)
        case "group":
            os.killpg(process.pid, number)
        case "every process":
            for pid in session(process.pid):
                os.kill(pid, number)
    assert process.wait() == 128 + number
    assert run.steps("zero") > 3 or run.steps("zero") % 3  # one of its own, and not only the last scheduled one
    assert "To go on: retort run recipe.yaml" in run.printed
    assert run.to_the_end() == little_made


@pytest.mark.parametrize(("file", "removed"), [
    ("student_base/model/model.safetensors", "student_rl"),
    ("student_base/model/tokenizer.json", "student_rl"),
    ("student_rl/metrics.jsonl", ""),
    ("cold_traces/data.jsonl", "cold"),
    ("score/report.json", ""),
    ("student_base/stage.json", "student_rl"),
])
@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "gone"])
def test_a_damaged_artifact(
    tmp_path: Path, smoke: Path, smoke_made: dict[str, str], retort: Any, file: str, removed: str, how: str
) -> None:
    """Of every kind of artifact; with `removed` also one whose stage would run from it."""
    shutil.copytree(smoke / "runs", tmp_path / "runs", symlinks=True)
    run = tmp_path / "runs" / "smoke"
    stage, _, name = file.partition("/")
    damage(next(run.glob(f"*-{stage}")).resolve() / name, how)
    if removed:
        shutil.rmtree(next(run.glob(f"*-{removed}")).resolve())
    refused = retort(tmp_path, "run", "smoke")
    assert refused.returncode == 1
    said = refused.stderr.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"{stage}: ")
    assert said[0].endswith("to make it again: retort run smoke --mend")
    assert retort(tmp_path, "verify", "smoke").returncode == 1
    mended = retort(tmp_path, "run", "smoke", "--mend")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert made(tmp_path) == smoke_made
    assert retort(tmp_path, "verify", "smoke").returncode == 0


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    half = len(content) // 2
    content[half] ^= 1
    match how:
        case "flipped":
            file.write_bytes(content)
        case "cut":
            file.write_bytes(content[:half])
        case "empty":
            file.write_bytes(b"")
        case "gone":
            file.unlink()


@pytest.mark.parametrize("how", ["cut", "empty", "gone"])
@pytest.mark.parametrize("file", ["recipe.json", "ledger.jsonl"])
def test_torn_files_of_a_run(little: Little, little_made: dict[str, str], file: str, how: str) -> None:
    run = killed_in_zero(little)
    place = run.folder / "runs" / "little" / file
    damage(place, how)
    for words in (["status", "little"], ["report", "little"], ["verify", "little"], ["clean", "--delete"]):
        done = subprocess.run([sys.executable, "-P", "-m", "pipeline.commands.cli", *words], cwd=run.folder,
                              env=run.environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, words
        assert done.returncode in (0, 1), words
    assert run.steps("zero") >= 4  # nothing was lost to `clean`
    assert run.to_the_end() == little_made


@pytest.mark.parametrize("command", ["mv runs moved", "cp -r runs moved", "cp -rL runs moved",
                                     "mkdir moved; cp -rL runs/little moved"])
def test_a_moved_and_a_copied_run(little: Little, little_made: dict[str, str], command: str) -> None:
    run = killed_in_zero(little)
    subprocess.run(["sh", "-c", command], cwd=run.folder, check=True)
    shutil.rmtree(run.folder / "runs", ignore_errors=True)
    (run.folder / "moved").rename(run.folder / "runs")
    assert run.to_the_end() == little_made
    assert "base" in run.printed.rpartition("made before, reused")[0].splitlines()[-1]
