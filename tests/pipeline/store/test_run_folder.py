"""Runs that were copied or moved to another folder or disk, with and without what their links lead to."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.recipe import trust
from pipeline.store.run_folder import RunFolder


def out_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    capsys.readouterr()
    cli.main(command)
    return "".join(capsys.readouterr())


def test_links_that_lead_nowhere_are_told_and_no_stage_is_told_as_never_made(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(run.path, tmp_path / "elsewhere" / "moved", symlinks=True)
    told = f"{moved}/01-base: leads to ../artifacts/{run.artifacts()['base'].path.name}, which is gone"
    report = out_of(capsys, "report", str(moved))
    assert told in report
    assert "cp -rL" in report
    assert report.index("next:\n  retort verify") < report.index("goes on with it")
    states = out_of(capsys, "status", str(moved)).splitlines()[2:]
    assert all("to be made again" in state and "which is gone" in state for state in states)
    verified = out_of(capsys, "verify", str(moved))
    assert verified.count("which is gone") == 2
    assert "not as made: base, data." in verified
    assert told in out_of(capsys, "ask", str(moved), "base", "hi")


def test_a_stage_that_failed_when_it_was_made_again_is_one_that_failed(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run.artifacts()["base"].path)
    run.record("base", event="failed", message="it broke")
    assert "failed           it broke" in out_of(capsys, "status", "chain")


def test_a_run_that_was_copied_with_its_artifacts_has_made_them_itself(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(run.path, tmp_path / "elsewhere" / "copied")
    assert "earlier run" not in out_of(capsys, "report", str(copied))
    status = out_of(capsys, "status", str(copied))
    assert "other runs" not in status
    assert status.count("done") == 2


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A folder on another file system than that of the tests."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == Path().stat().st_dev:
        pytest.skip("there is one file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.parametrize("are_there", [False, True])
def test_a_run_that_was_copied_with_its_artifacts_goes_on_where_they_lie_on_another_disk(
    run: RunFolder, other_disk: Path, are_there: bool
) -> None:
    artifacts = run.path.parent / "artifacts"
    copied = shutil.copytree(run.path, "copied")  # as cp -rL does
    names = sorted(artifact.path.name for artifact in run.artifacts().values())
    shutil.rmtree(run.path)
    if are_there:
        shutil.move(artifacts, other_disk / "artifacts")
    else:
        shutil.rmtree(artifacts)
        (other_disk / "artifacts").mkdir()
    artifacts.symlink_to(other_disk / "artifacts")
    Path(copied).rename(run.path)
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert [row["event"] for row in run.ledger()][-3:] == ["reused", "reused", "finished"]
    assert all(link.is_symlink() for link in run.path.glob("0*"))
    assert sorted(path.name for path in (other_disk / "artifacts").glob("[a-z]*")) == names
    assert len(list((other_disk / "artifacts").glob(".aside/*"))) == (2 if are_there else 0)
    assert not list((other_disk / "artifacts").glob(".partial/*.[0-9]*"))
    assert cli.main(["verify", "chain"]) == 0


def test_a_run_whose_folder_is_a_link_to_another_one_has_links_that_lead_somewhere(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "large" / "disk").mkdir(parents=True)
    moved = run.path.rename(tmp_path / "large" / "disk" / "chain")
    run.path.symlink_to(moved)
    assert run.lost()
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert not run.lost()
    assert out_of(capsys, "status", "chain").count("done") == 2


@pytest.mark.parametrize("linked", ["runs", "runs/artifacts"])
def test_links_stay_inside_of_a_folder_of_runs_that_is_or_has_a_link(
    run: RunFolder, tmp_path: Path, linked: str
) -> None:
    before = {link.name: os.readlink(link) for link in run.path.glob("0*")}
    moved = Path(linked).rename(tmp_path / "large")
    Path(linked).symlink_to(moved)
    for link in run.path.glob("0*"):
        link.unlink()
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert {link.name: os.readlink(link) for link in run.path.glob("0*")} == before
    assert all(place.startswith("../artifacts/") for place in before.values())
    assert not run.lost()


def test_a_run_that_was_copied_with_its_project_is_of_the_recipe_there(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "copied" / "project"
    shutil.copytree(run.path.parent, project / "runs", symlinks=True)
    for name in ("recipe.yaml", "tiny.py"):
        shutil.copy(name, project / name)
    trust.remember([project])
    monkeypatch.chdir(project)
    recipe = Path("recipe.yaml")
    recipe.write_text(recipe.read_text().replace("'tiny.py:Make'", "'tiny.py:Make', steps: 7"))
    assert "steps 2 -> 7" in out_of(capsys, "status", "chain")
    shutil.move("runs/chain", tmp_path / "alone")  # where no recipe lies beside it
    assert RunFolder(tmp_path / "alone").recipe()["file"] == str(tmp_path / "recipe.yaml")


def test_a_run_of_another_recipe_s_file_is_left_to_it(
    run: RunFolder, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.readlink(link) for link in run.path.glob("0*"))
    same = Path("recipe.yaml").read_text()
    other = str(write_recipe(same.replace("Make'", "Make', steps: 3"), "other.yaml"))
    assert cli.main(["run", other]) == 2
    assert capsys.readouterr().err == (f"runs/chain is a run of {Path('recipe.yaml').resolve()}, whose artifacts this "
                                       "recipe would take it from; give another --name\n")
    assert sorted(os.readlink(link) for link in run.path.glob("0*")) == before
    assert cli.main(["run", other, "--name", "another"]) == 0
    # A copy that makes the same takes nothing from it, and what was renamed goes on.
    assert cli.main(["run", str(write_recipe(same, "copy.yaml"))]) == 0
    Path("copy.yaml").rename("renamed.yaml")
    assert cli.main(["run", "renamed.yaml", "--set", "base.steps=4", "--name", "chain"]) == 0
