"""`retort verify` and `retort clean` on a run of tiny stages."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.disk.locks import Lock
from pipeline.store.run_folder import RunFolder

Write = Callable[..., Path]
RECIPE = """
name: chain
stages:
  base: {kind: 'tiny.py:Make'}
  data: {kind: 'tiny.py:Write', model: base}
"""


@pytest.fixture
def run(write_recipe: Write) -> RunFolder:
    assert cli.main(["run", str(write_recipe(RECIPE))]) == 0
    return RunFolder(Path("runs/chain"))


@pytest.mark.usefixtures("run")
def test_what_was_made_is_verified(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "chain"]) == 0
    assert capsys.readouterr().out.count("as it was made") == 2


@pytest.mark.parametrize(("fault", "said"), [
    ("changed", "was changed"), ("gone", "number.txt is gone"), ("more", "was not made by the stage"),
    ("manifest", "stage.json cannot be read"), ("all", "is gone"),
])
def test_what_differs_is_told(run: RunFolder, capsys: pytest.CaptureFixture[str], fault: str, said: str) -> None:
    folder = run.artifacts()["base"].path
    match fault:
        case "changed":
            (folder / "number.txt").write_text("0.5\n")
        case "gone":
            (folder / "number.txt").unlink()
        case "more":
            (folder / "other").touch()
        case "manifest":
            (folder / "stage.json").write_text("{")
        case "all":
            folder.rename(folder.with_name("elsewhere"))
    assert cli.main(["verify", str(run.path)]) == 1
    told = capsys.readouterr().out
    assert said in told
    assert "not as made: base." in told


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
    left = {path.name for path in (run.path.parent / "artifacts").iterdir() if path.name != ".partial"}
    assert left == {artifact.path.name for artifact in run.artifacts().values()}
    assert cli.main(["verify", "chain"]) == 0


def test_clean_leaves_alone_what_is_being_made(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    unfinished = run.path.parent / "artifacts" / ".partial"
    for name in ("zero-0123456789", "r1-0123456789"):
        (unfinished / name / "out").mkdir(parents=True)
    with Lock(unfinished / "zero-0123456789.lock"):
        assert cli.main(["clean", "--delete"]) == 0
    assert {path.name for path in unfinished.iterdir()} == {"zero-0123456789"}
    assert cli.main(["clean", "--runs", "nowhere"]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
