"""`retort verify` on a run of tiny stages, and runs whose own files are gone or torn."""

import pytest

from pipeline.commands import cli
from pipeline.store.run_folder import RunFolder


@pytest.mark.usefixtures("run")
def test_what_was_made_is_verified(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "chain"]) == 0
    assert capsys.readouterr().out.count("as it was made") == 2


@pytest.mark.parametrize(("fault", "said"), [
    ("changed", "was changed"), ("gone", "number.txt is gone"), ("more", "was not made by the stage"),
    ("manifest", "stage.json: is torn"), ("all", "is gone"),
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


@pytest.mark.parametrize("file", ["recipe.json", "ledger.jsonl"])
@pytest.mark.parametrize("how", ["gone", "empty", "cut", "other"])
def test_torn_files_of_the_run_are_told_and_written_again(
    run: RunFolder, capsys: pytest.CaptureFixture[str], file: str, how: str
) -> None:
    path = run.path / file
    match how:
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(path.read_bytes()[:15])
        case "other":
            path.write_text("[3]\n")
    capsys.readouterr()
    assert cli.main(["verify", "chain"]) == 1
    told = capsys.readouterr().out
    assert told.count("as it was made") == 2
    assert f"{file}: " in told
    assert "writes it again" in told
    assert cli.main(["report", "chain"]) == 0
    assert f"{file}: " in capsys.readouterr().out
    assert cli.main(["status", "chain"]) == (1 if file == "recipe.json" else 0)
    assert cli.main(["clean"]) == 0
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert cli.main(["verify", "chain"]) == 0
    assert len(run.readable()) == 2
