"""The script that runs a recipe as a Slurm job."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.commands import cli
from tests.launchers import SHIPPED

LITTLE = (Path(__file__).parents[2] / "faults" / "little.yaml").read_text()
RECIPE = "accelerate: hardware.yaml\n" + LITTLE[: LITTLE.index("\n  zero:")]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hardware.yaml").write_text(
        (SHIPPED / "fsdp2.yaml").read_text().replace("num_machines: 1", "num_machines: 2")
        .replace("num_processes: 8", "num_processes: 16")
    )
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE)
    return file


def options(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_machines_and_gpus_are_the_accelerate_configs(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["launch", str(recipe), "--dry-run", "--time", "3:00:00", "--sbatch", "partition=gpu"]) == 0
    text = capsys.readouterr().out
    found = options(text)
    assert {"--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "--time=3:00:00", "--requeue", "--partition=gpu",
            "--signal=B:USR1@300"} <= set(found)
    assert "srun" not in text  # the runner is on one machine, and calls the others itself
    assert not list(recipe.parent.glob("runs/*"))


@pytest.mark.parametrize(("use_cpu", "asked"), [("true", False), ("false", True)])
def test_one_process_has_a_gpu_where_it_is_not_for_processors(
    recipe: Path, capsys: pytest.CaptureFixture[str], use_cpu: str, asked: bool
) -> None:
    text = f"distributed_type: 'NO'\nnum_machines: 1\nnum_processes: 1\nuse_cpu: {use_cpu}\n"
    (recipe.parent / "hardware.yaml").write_text(text)
    assert cli.main(["launch", str(recipe), "--dry-run"]) == 0
    assert ("--gpus-per-node=1" in options(capsys.readouterr().out)) == asked


def test_what_the_job_would_refuse_is_not_put_into_the_queue(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = recipe.parent / "hardware.yaml"
    file.write_text(file.read_text().replace("num_processes: 16", "num_processes: 15"))
    assert cli.main(["launch", str(recipe), "--dry-run"]) == 2
    assert "15 processes do not split over 2 machines" in capsys.readouterr().err


def test_bash_reads_the_script(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--name", "a=b", "--runs", "where is/it", "--set", "base.steps=3"]
    assert cli.main(["launch", str(recipe), *given]) == 0
    script = recipe.parent / "where is" / "it" / "a=b.sbatch"
    assert str(script) in capsys.readouterr().out
    subprocess.run(["bash", "-n", script], check=True)
    assert "--runs 'where is/it' --name a=b" in script.read_text()


RUNNER = """#!/bin/bash
# A run: the first signal stops it, and its checkpoint takes as long as it needs.
stop() { [ -n "$code" ] || code=$1; echo "$1" >> heard; }
trap 'stop 138' USR1
trap 'stop 143' TERM
echo ready >> heard
until [ -n "$code" ] && [ -e checkpoint ]; do sleep 0.02; kill -0 $PPID || exit; done
exit $code
"""


@pytest.mark.parametrize(("sent", "requeued"), [
    ([signal.SIGUSR1], True), ([signal.SIGTERM], False), ([signal.SIGUSR1, signal.SIGTERM], True),
    ([signal.SIGTERM, signal.SIGUSR1], False),
])
def test_signals_reach_the_runner_which_the_script_waits_for(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, sent: list[signal.Signals], requeued: bool
) -> None:
    """Slurm tells the script alone, and takes the job for ended when it ends."""
    folder = recipe.parent
    for name, text in (("runner", RUNNER), ("scontrol", '#!/bin/bash\necho "$@" > asked\n')):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "runner"))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert cli.main(["launch", str(recipe)]) == 0
    [script] = (folder / "runs").glob("*.sbatch")
    job = subprocess.Popen(["bash", script])
    heard = folder / "heard"
    for count, number in enumerate(sent, start=1):
        while not heard.exists() or len(heard.read_text().splitlines()) < count:
            assert job.poll() is None
        job.send_signal(number)
    while len(heard.read_text().splitlines()) <= len(sent):
        assert job.poll() is None
    (folder / "checkpoint").touch()
    assert job.wait() == 128 + sent[0]
    assert (folder / "asked").exists() == requeued


def test_values_with_blanks_are_quoted(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recipe.parent / "my runs"
    folder.mkdir()
    monkeypatch.chdir(folder)
    given = ["--name", "a", "--sbatch", "comment=for me", "--sbatch", "account='by me'", "--sbatch", "exclusive"]
    assert cli.main(["launch", str(recipe), "--dry-run", *given]) == 0
    found = options(capsys.readouterr().out)
    assert {f"--chdir='{folder}'", f"--output='{folder}/runs/a.%j.log'", "--comment='for me'", "--account='by me'",
            "--exclusive"} <= set(found)


@pytest.mark.parametrize("option", ["", "=gpu", "par tition=gpu", "partition=gpu\n#SBATCH --nodes=9", "a;b=c"])
def test_an_option_is_one_line(recipe: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert cli.main(["launch", str(recipe), "--dry-run", "--sbatch", option]) == 2
    assert "an option is written as partition=gpu" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "instead"), [
    ("time=8:00:00", "give --time"), ("signal=USR2@60", "give --ahead"), ("nodes=4", "num_machines"),
])
def test_what_the_script_rests_on_is_said_in_one_place(
    recipe: Path, capsys: pytest.CaptureFixture[str], option: str, instead: str
) -> None:
    assert cli.main(["launch", str(recipe), "--dry-run", "--sbatch", option]) == 2
    assert instead in capsys.readouterr().err


def test_a_job_may_be_told_earlier(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["launch", str(recipe), "--dry-run", "--ahead", "1800"]) == 0
    text = capsys.readouterr().out
    assert "--signal=B:USR1@1800" in options(text)
    assert "export RETORT_GRACE=1770 " in text
    for seconds in ("59", "65536", "-1"):
        assert cli.main(["launch", str(recipe), "--dry-run", "--ahead", seconds]) == 2
        assert "give 60 to 65535 seconds" in capsys.readouterr().err


@pytest.mark.parametrize(("time", "code"), [
    ("5", 2), ("9:59", 2), ("10", 0), ("10:00", 0), ("0:09:59", 2), ("0-0:10", 0), ("0-1", 0), ("0-0:9:59", 2),
])
def test_a_job_has_time_before_it_is_told_to_end(
    recipe: Path, capsys: pytest.CaptureFixture[str], time: str, code: int
) -> None:
    """Else it would be told when it starts, and go back into the queue for ever."""
    assert cli.main(["launch", str(recipe), "--dry-run", "--time", time]) == code
    assert ("does next to nothing" in capsys.readouterr().err) == (code == 2)


@pytest.mark.parametrize(("time", "code"), [("abc", 2), ("1:2:3:4", 2), ("90", 0), ("2-12", 0), ("1-00:30:00", 0)])
def test_a_time_is_written_as_slurm_has_it(recipe: Path, time: str, code: int) -> None:
    assert cli.main(["launch", str(recipe), "--dry-run", "--time", time]) == code
