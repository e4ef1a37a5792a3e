"""The script that runs a recipe as a Slurm job."""

import subprocess
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


def test_bash_reads_the_script(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--name", "a=b", "--runs", "where is/it", "--set", "base.steps=3"]
    assert cli.main(["launch", str(recipe), *given]) == 0
    script = recipe.parent / "where is" / "it" / "a=b.sbatch"
    assert str(script) in capsys.readouterr().out
    subprocess.run(["bash", "-n", script], check=True)
    assert "--runs 'where is/it' --name a=b" in script.read_text()


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


@pytest.mark.parametrize(("time", "code"), [("abc", 2), ("1:2:3:4", 2), ("90", 0), ("2-12", 0), ("1-00:30:00", 0)])
def test_a_time_is_written_as_slurm_has_it(recipe: Path, time: str, code: int) -> None:
    assert cli.main(["launch", str(recipe), "--dry-run", "--time", time]) == code
