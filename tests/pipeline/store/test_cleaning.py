"""`retort clean` on a run of tiny stages."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import clean, cli
from pipeline.disk.locks import Lock
from pipeline.store import cleaning
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import Store
from tests.pipeline.store.conftest import RECIPE

Write = Callable[..., Path]


def test_clean_keeps_what_a_recipe_still_needs(
    run: RunFolder, write_recipe: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {artifact.path.name for artifact in run.artifacts().values()}
    changed = write_recipe(RECIPE.replace("'tiny.py:Make'}", "'tiny.py:Make', steps: 3}"))
    assert cli.main(["clean"]) == 0
    assert "0.0 MB that no run needs" in capsys.readouterr().out  # the run still links to what it made
    assert cli.main(["run", str(changed)]) == 0
    assert cli.main(["clean"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in before)
    assert all((run.path.parent / "artifacts" / name).is_dir() for name in before)
    assert cli.main(["clean", "--delete"]) == 0
    left = {path.name for path in (run.path.parent / "artifacts").iterdir() if path.name not in (".partial", ".aside")}
    assert left == {artifact.path.name for artifact in run.artifacts().values()}
    assert cli.main(["verify", "chain"]) == 0


@pytest.mark.parametrize("moment", ["listed", "counted"])
def test_clean_leaves_alone_what_a_run_takes_that_begins_meanwhile(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    """To list and to count many files takes minutes."""
    shutil.rmtree(run.path)
    (run.path.parent / "artifacts" / "zero-0123456789").mkdir()
    place, name = (cleaning, "unneeded") if moment == "listed" else (clean, "size")
    work = getattr(place, name)
    begun: list[int] = []

    def slow(path: Path) -> object:
        found = work(path)
        if not begun:
            begun.append(cli.main(["run", "recipe.yaml"]))
        return found

    monkeypatch.setattr(place, name, slow)
    assert cli.main(["clean", "--delete"]) == 0
    assert begun == [0]
    told = capsys.readouterr().out
    assert told.count("made before, reused") == (2 if moment == "listed" else 0)
    assert "runs/artifacts/zero-0123456789" in told
    assert not (run.path.parent / "artifacts" / "zero-0123456789").exists()
    assert not list((run.path.parent / "artifacts" / ".aside").iterdir())
    assert cli.main(["verify", "chain"]) == 0
    assert len(run.readable()) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EXDEV])
def test_clean_removes_what_cannot_be_put_aside(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    old = Path("runs/artifacts/zero-0123456789")
    old.mkdir(parents=True)

    def refuse(*_: object) -> Path:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Store, "set_aside", refuse)
    assert cli.main(["clean", "--delete"]) == 0
    assert not old.exists()


def test_clean_leaves_alone_what_is_being_made(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    unfinished = run.path.parent / "artifacts" / ".partial"
    for name in ("zero-0123456789", "r1-0123456789"):
        (unfinished / name / "out").mkdir(parents=True)
    with Lock(unfinished / "zero-0123456789.lock"):
        assert cli.main(["clean", "--delete"]) == 0
    assert {path.name for path in unfinished.iterdir()} == {"zero-0123456789"}
    assert cli.main(["clean", "--runs", "nowhere"]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err


def test_clean_removes_what_stages_can_make_again(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    cache = run.path.parent / "artifacts" / ".cache"
    for name in ("0" * 32, f"{'1' * 32}.making"):
        (cache / name).mkdir(parents=True)
    with Lock(cache / f"{'1' * 32}.lock"):  # somebody is making it
        assert cli.main(["clean", "--delete"]) == 0
    assert {path.name for path in cache.iterdir()} == {f"{'1' * 32}.making"}
    assert "0" * 32 in capsys.readouterr().out
    assert cli.main(["verify", "chain"]) == 0


@pytest.mark.parametrize("fault", ["no recipe.json", "torn recipe.json", "no ledger", "neither", "recipe file gone"])
def test_a_run_that_lost_its_files_loses_nothing_more(run: RunFolder, fault: str) -> None:
    begun = run.path.parent / "artifacts" / ".partial" / "next-0123456789"
    begun.mkdir(parents=True)
    run.record("next", event="started", fingerprint="0123456789" * 6)
    match fault:
        case "no recipe.json" | "neither":
            (run.path / "recipe.json").unlink()
        case "torn recipe.json":
            (run.path / "recipe.json").write_text('{"file": "rec')
        case "recipe file gone":
            Path("recipe.yaml").unlink()
    if fault in ("no ledger", "neither"):
        (run.path / "ledger.jsonl").unlink()
    assert cli.main(["clean", "--delete"]) == 0
    assert len(run.readable()) == 2
    assert begun.exists() == (fault != "no ledger")


def test_clean_takes_only_what_stages_made(run: RunFolder, tmp_path: Path) -> None:
    """A folder of runs may come from anyone: links in it lead elsewhere, and other things may lie there."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    artifacts = run.path.parent / "artifacts"
    (artifacts / "stray-0123456789").symlink_to(tmp_path / "mine")
    (artifacts / ".aside").mkdir()
    (artifacts / ".aside" / "x").symlink_to(tmp_path / "mine")
    (artifacts / "my notes").mkdir()
    assert cli.main(["clean", "--delete"]) == 0
    assert (tmp_path / "mine" / "letter").exists()
    assert (artifacts / "my notes").is_dir()
    assert not (artifacts / "stray-0123456789").is_symlink()
    assert not (artifacts / ".aside" / "x").is_symlink()


def test_clean_keeps_what_another_run_names_by_its_place(run: RunFolder, tmp_path: Path) -> None:
    [base] = (run.path.parent / "artifacts").glob("base-*")
    other = tmp_path / "other.yaml"
    other.write_text(f"name: other\nstages:\n  data: {{kind: 'tiny.py:Write', model: {base}}}\n")
    assert cli.main(["run", str(other)]) == 0
    shutil.rmtree(run.path)
    assert cli.main(["clean", "--delete"]) == 0
    assert base.is_dir()


def test_a_folder_of_ones_own_in_a_run_stays_where_it_is(run: RunFolder, write_recipe: Write) -> None:
    own = run.path / "20-notes"
    own.mkdir()
    (own / "thoughts.txt").write_text("mine")
    assert cli.main(["run", str(write_recipe(RECIPE))]) == 0
    assert (own / "thoughts.txt").read_text() == "mine"
    assert set(run.artifacts()) == {"base", "data"}
