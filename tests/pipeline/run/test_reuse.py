"""Artifacts that were changed after they were made: never used in silence, and made again by one command."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.disk import hashes
from pipeline.disk.locks import Lock
from pipeline.run.versions import PORTABLE
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import Store

Write = Callable[..., Path]
RECIPE = """
name: chain
stages:
  base: {kind: 'tiny.py:Make'}
  other: {kind: 'tiny.py:Make', steps: 1}
  data: {kind: 'tiny.py:Write', model: base}
"""
CLOCK = '''
import time
from typing import ClassVar

from pipeline.stage import ArtifactType, Context, Metrics, Stage


class Clock(Stage):
    """Makes a model of other bytes each time, as another machine does."""

    kind: ClassVar[str] = "clock"
    makes: ClassVar[ArtifactType] = "model"
    preload: ClassVar[tuple[str, ...]] = ()

    def run(self, ctx: Context) -> Metrics:
        (ctx.out / "number.txt").write_text(f"{time.time_ns()}\\n")
        return {}
'''


@pytest.fixture
def clocked(write_recipe: Write) -> RunFolder:
    """A finished run whose base has other bytes once it is made again."""
    path = write_recipe("name: clocked\nstages:\n  base: {kind: 'clock.py:Clock'}\n"
                        "  data: {kind: 'tiny.py:Write', model: base}\n", "clocked.yaml")
    path.with_name("clock.py").write_text(CLOCK)
    assert cli.main(["run", str(path)]) == 0
    return RunFolder(Path("runs/clocked"))


@pytest.fixture
def made(write_recipe: Write) -> RunFolder:
    assert cli.main(["run", str(write_recipe(RECIPE))]) == 0
    return RunFolder(Path("runs/chain"))


def files(run: RunFolder) -> dict[str, bytes]:
    return {f"{name}/{file.name}": file.read_bytes() for name, artifact in run.artifacts().items()
            for file in artifact.path.iterdir() if file.name != "stage.json"}


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)


def tear(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


@pytest.mark.parametrize("stage", ["base", "other", "data"])
@pytest.mark.parametrize("fault", [
    "flipped", "gone", "more", "flipped manifest", "torn manifest", "empty manifest", "no manifest",
])
def test_what_was_changed_is_refused_and_one_command_makes_it_again(
    made: RunFolder, capsys: pytest.CaptureFixture[str], stage: str, fault: str
) -> None:
    before, folder = files(made), made.artifacts()[stage].path
    file = next(path for path in sorted(folder.iterdir()) if path.name in ("number.txt", "data.jsonl"))
    match fault:
        case "flipped":
            flip(file)
        case "gone":
            file.unlink()
        case "more":
            (folder / "more").touch()
        case "flipped manifest":
            text = (folder / "stage.json").read_text()
            (folder / "stage.json").write_text(text.replace('"seed": 0', '"seed": 1'))
        case "torn manifest":
            tear(folder / "stage.json")
        case "empty manifest":
            (folder / "stage.json").write_bytes(b"")
        case "no manifest":
            (folder / "stage.json").unlink()
    capsys.readouterr()
    for command in (["plan", "recipe.yaml"], ["status", "chain"]):
        assert cli.main(command) == 0
    assert "changed" in capsys.readouterr().out or fault == "flipped"  # a byte is seen by who reads the file
    assert cli.main(["report", "chain"]) == 0
    capsys.readouterr()
    assert cli.main(["run", "recipe.yaml"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"{stage}: runs/artifacts/{folder.name}")
    assert said[0].endswith("retort run recipe.yaml --mend")
    assert cli.main(["verify", "chain"]) == 1
    assert cli.main(["run", "recipe.yaml", "--mend"]) == 0
    assert files(made) == before
    assert cli.main(["verify", "chain"]) == 0
    assert "it is made again, and what there was is in runs/artifacts/.aside/" in capsys.readouterr().out
    assert cli.main(["clean", "--delete"]) == 0
    assert list(Path("runs/artifacts/.aside").iterdir()) == []


def test_a_stage_is_not_begun_from_a_changed_input(made: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    flip(made.artifacts()["base"].path / "number.txt")
    shutil.rmtree(made.artifacts()["data"].path)
    assert cli.main(["run", "recipe.yaml"]) == 1
    assert "which data would be made from" in capsys.readouterr().err
    assert "data" not in made.artifacts()


def test_what_was_made_from_other_bytes_is_told_and_mended(
    made: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """The base was made again on another machine, with other last bits, and the data are still of the first one."""
    base = made.artifacts()["base"].path
    flip(base / "number.txt")
    manifest = json.loads((base / "stage.json").read_text())
    manifest["files"] = hashes.file_hashes(base, "stage.json")
    del manifest["sha256"]  # as a stage.json has none that was written before it was hashed
    (base / "stage.json").write_text(json.dumps(manifest))
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert "was made from other bytes of base than" in capsys.readouterr().out
    assert cli.main(["verify", "chain"]) == 1
    assert "was made from other bytes of base than" in capsys.readouterr().out
    first = made.artifacts()["data"].manifest["inputs"]["base"]["content"]
    assert cli.main(["run", "recipe.yaml", "--mend"]) == 0
    assert made.artifacts()["data"].manifest["inputs"]["base"]["content"] != first
    assert cli.main(["verify", "chain"]) == 0


def test_what_was_taken_before_its_input_was_made_again_is_told_by_the_same_run(
    clocked: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(clocked.artifacts()["base"].path)
    capsys.readouterr()
    assert cli.main(["run", "clocked.yaml"]) == 0
    told = capsys.readouterr().out
    assert "was made from other bytes of base than" in told
    assert told.count("--mend makes it again") == 1
    assert any("other bytes of base" in row.get("text", "") for row in clocked.ledger())
    for command in (["report", "clocked"], ["status", "clocked"]):
        assert cli.main(command) == 0
        assert "was made from other bytes of base than" in capsys.readouterr().out, command
    assert cli.main(["run", "clocked.yaml", "--mend"]) == 0
    assert cli.main(["verify", "clocked"]) == 0
    capsys.readouterr()
    for command in (["run", "clocked.yaml"], ["report", "clocked"], ["status", "clocked"]):
        assert cli.main(command) == 0
        assert "other bytes" not in capsys.readouterr().out, command


def test_what_another_run_is_mending_is_left_to_it(made: RunFolder) -> None:
    base, store = made.artifacts()["base"].path, Store(made.path.parent)
    before = (base / "number.txt").read_bytes()
    flip(base / "number.txt")
    lock = Lock(store.unfinished / f"{base.name}.lock")

    def other_run() -> None:
        try:
            while not any("is making the same artifact" in row.get("text", "") for row in made.ledger()):
                time.sleep(0.02)
            (base / "number.txt").write_bytes(before)
        finally:
            lock.release()

    threading.Thread(target=other_run, daemon=True).start()
    assert cli.main(["run", "recipe.yaml", "--mend"]) == 0
    assert not store.aside.exists()
    assert cli.main(["verify", "chain"]) == 0


def test_what_was_made_from_other_bytes_of_a_path_is_told_and_mended(
    clocked: RunFolder, write_recipe: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """The documented way to use another run's model."""
    write_recipe("stages:\n  copy: {kind: 'tiny.py:Write', model: runs/clocked/01-base}\n", "copy.yaml")
    assert cli.main(["run", "copy.yaml"]) == 0
    assert cli.main(["run", "copy.yaml"]) == 0
    assert "other bytes" not in capsys.readouterr().out
    shutil.rmtree(clocked.artifacts()["base"].path)
    assert cli.main(["run", "clocked.yaml", "--mend"]) == 0
    capsys.readouterr()
    for command, code in ((["run", "copy.yaml"], 0), (["verify", "copy"], 1), (["report", "copy"], 0),
                          (["status", "copy"], 0)):
        assert cli.main(command) == code, command
        assert "was made from other bytes of runs/clocked/01-base than" in capsys.readouterr().out, command
    assert cli.main(["run", "copy.yaml", "--mend"]) == 0
    assert cli.main(["verify", "copy"]) == 0
    number = (clocked.artifacts()["base"].path / "number.txt").read_bytes()
    assert (RunFolder(Path("runs/copy")).artifacts()["copy"].path / "data.jsonl").read_bytes() == number


def test_what_was_made_without_portable_is_told_and_mended(
    made: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_on(name: str, hardware: str) -> None:
        file = made.artifacts()[name].path / "stage.json"
        manifest = json.loads(file.read_text())
        del manifest["sha256"]
        file.write_text(json.dumps({**manifest, "hardware": hardware}))

    made_on("base", "x86_64 AVX512")
    made_on("other", "x86_64 AVX2")  # on a processor that has no more; MKL and oneDNN choose by it all the same
    capsys.readouterr()
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert "portable" not in capsys.readouterr().out
    for variable, value in PORTABLE.items():
        monkeypatch.setenv(variable, value)
    assert cli.main(["run", "recipe.yaml"]) == 0
    told = capsys.readouterr().out
    assert "was made on x86_64 AVX512 and not as --portable computes; --mend makes it again" in told
    assert told.count("not as --portable computes") == 2
    assert cli.main(["run", "recipe.yaml", "--mend"]) == 0
    for name, hardware in (("base", "x86_64 AVX2, portable"), ("other", "NVIDIA H200")):
        made_on(name, hardware)
    capsys.readouterr()
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert "not as --portable computes" not in capsys.readouterr().out


def test_files_are_read_once_and_all_of_them_when_asked(
    made: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "_SETTLED", -1.0)
    read: list[str] = []
    digest = hashes.hashlib.file_digest

    def counted(stream: object, name: str) -> object:
        read.append(str(stream))
        return digest(stream, name)  # type: ignore[arg-type]

    assert cli.main(["run", "recipe.yaml"]) == 0
    monkeypatch.setattr(hashes.hashlib, "file_digest", counted)
    assert cli.main(["run", "recipe.yaml"]) == 0
    assert read == []
    assert cli.main(["run", "recipe.yaml", "--verify"]) == 0
    assert len(read) == len(files(made))


def test_an_artifact_given_by_its_path_is_checked(
    made: RunFolder, write_recipe: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    base = made.artifacts()["base"].path
    again = write_recipe(f"stages:\n  data: {{kind: 'tiny.py:Write', model: {base.resolve()}}}\n", "again.yaml")
    flip(base / "number.txt")
    assert cli.main(["run", str(again)]) == 1
    assert "number.txt was changed; make it again, or give another" in capsys.readouterr().err
    tear(base / "stage.json")
    assert cli.main(["plan", str(again)]) == 2
    assert "is an artifact whose stage.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("whole", [True, False])
def test_a_copy_without_links_goes_on(made: RunFolder, capsys: pytest.CaptureFixture[str], whole: bool) -> None:
    """`cp -rL`: of the folder of all runs, or of the run alone."""
    before = files(made)
    if whole:
        shutil.copytree("runs", "copy")
    else:
        shutil.copytree(made.path, "copy/chain")
    copy = RunFolder(Path("copy/chain"))
    assert files(copy) == before
    for command in (["verify", "copy/chain"], ["report", "copy/chain"], ["status", "copy/chain"]):
        assert cli.main(command) == 0, command
    capsys.readouterr()
    assert cli.main(["run", "recipe.yaml", "--runs", "copy"]) == 0
    assert capsys.readouterr().out.count("made before, reused") == 3
    assert files(copy) == before
    assert all(path.is_symlink() for path in copy.path.iterdir() if path.name[0].isdigit())
